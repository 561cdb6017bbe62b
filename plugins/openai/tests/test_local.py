"""Chats and batches run as tasks in Python, with the installed plugin, and key and address in the environment."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from connectors import Phase, Unauthenticated
from connectors.local import RunOptions, TaskFailed, TaskTimedOut
from connectors_openai import ChatGPTConfig, ChatGPTTask, OpenAIBatchConfig, OpenAIBatchTask
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI
from tests.local.terminal import interrupted_while_running

pytestmark = pytest.mark.anyio


@pytest.fixture
def environment(openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables = {"OPENAI_BASE_URL": f"{openai.url}/v1", "FLYTE_OPENAI_API_KEY": KEY}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def chat() -> ChatGPTTask:
    return ChatGPTTask("chat", ChatGPTConfig("a-model"))


def batch(*, timeout: float | None = None) -> OpenAIBatchTask:
    return OpenAIBatchTask("batch", OpenAIBatchConfig(), local_run=RunOptions(poll_interval=0.1, timeout=timeout))


async def ended(openai: FakeOpenAI, **state: Any) -> None:
    """The batch that a run makes gets into this state."""
    async with asyncio.timeout(20):
        while not openai.batches:  # noqa: ASYNC110 - the run is on its way
            await asyncio.sleep(0.01)
    openai.batches["batch_0000"].update(state)


@pytest.mark.usefixtures("environment")
async def test_a_chat_returns_the_answer(openai: FakeOpenAI) -> None:
    assert await chat().run(message="Who is there?") == "Hello."
    assert openai.last("/chat").body["messages"] == [{"role": "user", "content": "Who is there?"}]


async def test_a_chat_on_an_openai_that_others_wrote(llmock_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{llmock_url}/v1")
    monkeypatch.setenv("_FSEC_FLYTE_OPENAI_API_KEY", "sk-an-invented-key")
    answer = await ChatGPTTask("chat", ChatGPTConfig("gpt-4o")).run(message="Who is there?")
    assert isinstance(answer, str)
    assert answer


@pytest.mark.usefixtures("environment")
async def test_a_refused_chat_fails_the_task(openai: FakeOpenAI) -> None:
    openai.choice["message"] = {"role": "assistant", "content": None, "refusal": "I would rather not."}
    with pytest.raises(TaskFailed, match="I would rather not"):
        await chat().run(message="Who is there?")


@pytest.mark.usefixtures("environment")
async def test_a_key_that_is_refused_is_an_error(openai: FakeOpenAI) -> None:
    openai.keys.clear()
    with pytest.raises(Unauthenticated):
        await chat().run(message="Who is there?")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_batch_ends_as_it_did(openai: FakeOpenAI, status: str) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: ended(openai, status=status))
        outcome = await batch().outcome(input_file_id="file-1")
    if status == "completed":
        assert outcome.value["id"] == "batch_0000"
    assert outcome.phase is (Phase.SUCCEEDED if status == "completed" else Phase.FAILED)
    assert openai.batches["batch_0000"]["status"] == status


@pytest.mark.usefixtures("environment")
async def test_a_retryable_failure_ends_the_run(openai: FakeOpenAI) -> None:
    errors = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: ended(openai, status="failed", errors=errors))
        outcome = await batch().outcome(input_file_id="file-1")
    assert (outcome.phase, len(openai.batches)) == (Phase.RETRYABLE_FAILED, 1)


@pytest.mark.usefixtures("environment")
async def test_a_batch_that_takes_too_long_is_cancelled(openai: FakeOpenAI) -> None:
    with pytest.raises(TaskTimedOut):
        await batch(timeout=1.5).run(input_file_id="file-1")
    assert [each["status"] for each in openai.batches.values()] == ["cancelling"]


async def test_ctrl_c_cancels_the_batch(openai: FakeOpenAI, environment: dict[str, str]) -> None:
    make = """
from connectors_openai import *
task = OpenAIBatchTask("batch", OpenAIBatchConfig(), local_run=local_run)
"""
    meta = await interrupted_while_running(make, "input_file_id='file-1'", **environment)
    assert meta["batch_id"] == "batch_0000"
    assert [each["status"] for each in openai.batches.values()] == ["cancelling"]
