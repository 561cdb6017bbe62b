"""How chats, embeddings and batches that are run locally end, on an OpenAI that others wrote, and what becomes of them
there. A chat has no job: one that is broken off is an open request no more.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.local import ConnectorTask, RunOptions
from connectors.testing.faults import Fault, FaultProxy, Route
from connectors_openai import (
    ChatGPTConfig,
    ChatGPTTask,
    OpenAIBatchConfig,
    OpenAIBatchTask,
    OpenAIEmbeddingsConfig,
    OpenAIEmbeddingsTask,
)
from plugins.openai.tests.fake_openai import KEY
from plugins.openai.tests.test_on_llmock import LLMock, request_line
from tests.local.endings import Ending, Run, run_to_its_end

pytestmark = pytest.mark.anyio
ASKS = Route("POST", "/v1/(chat/completions|embeddings)")


def answer(status: int, **headers: str) -> Fault:
    error = {"error": {"message": "scripted", "type": "invalid_request_error", "param": None, "code": None}}
    return Fault("answer", ASKS, status=status, headers=headers, body=json.dumps(error).encode())


HANGS = Fault("hang", ASKS)
SPENT = answer(429, **{"Retry-After": "3600"})  # longer than a call may take: it is not waited for


def filtered(body: bytes) -> bytes:
    changed = json.loads(body)
    changed["choices"][0]["finish_reason"] = "content_filter"
    return json.dumps(changed).encode()


def chat(timeout: float | None = None) -> ChatGPTTask:
    return ChatGPTTask("chat", ChatGPTConfig("gpt-4o"), local_run=RunOptions(timeout=timeout))


def embeddings(timeout: float | None = None) -> OpenAIEmbeddingsTask:
    config = OpenAIEmbeddingsConfig("text-embedding-3-small")
    return OpenAIEmbeddingsTask("embed", config, local_run=RunOptions(timeout=timeout))


def calls(make: Any, inputs: dict[str, Any], failure: Fault) -> list[Run]:
    return [
        Run(Ending.SUCCESS, make(), inputs=inputs),
        Run(Ending.FAILURE, make(), inputs=inputs, given=failure),
        Run(Ending.RETRYABLE, make(), inputs=inputs, given=SPENT),
        Run(Ending.TIMEOUT, make(timeout=3.0), inputs=inputs, given=HANGS),
        Run(Ending.CTRL_C, make(), inputs=inputs, given=HANGS),
    ]


CALLS = [
    *calls(chat, {"message": "Who is there?"}, Fault("rewrite", ASKS, rewrite=filtered)),
    *calls(embeddings, {"texts": ["one", "two"]}, answer(400)),
]


@pytest.fixture
async def llmock(llmock_url: str) -> LLMock:
    emulator = LLMock(llmock_url)
    await emulator.call("POST", "/_llmock/reset")
    return emulator


def variables_of(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """For a program, and set for this process."""
    found = {"OPENAI_BASE_URL": f"{proxy.url}/v1", "FLYTE_OPENAI_API_KEY": KEY}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.mark.parametrize("run", CALLS, ids=lambda run: f"{run.task.name}-{run}")
async def test_a_local_run_ends_and_so_does_its_one_request(
    run: Run, llmock: LLMock, llmock_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultProxy(llmock_url) as proxy:
        if run.given is not None:
            proxy.set_fault(run.given)
        await run_to_its_end(run, variables=variables_of(proxy, monkeypatch), begun=lambda: proxy.until_open(within=30))
        await proxy.until_idle()
        assert len(proxy.seen(ASKS)) == len(proxy.requests) == 1


async def test_embeddings_are_a_list_of_floats_for_each_text(
    llmock: LLMock, llmock_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultProxy(llmock_url) as proxy:
        variables_of(proxy, monkeypatch)
        first, second, third = await embeddings().run(texts=["one", "two", "one"])
    assert len(first) == len(second) == 1536
    assert first == third != second


# --- batches


def batch(timeout: float | None = None) -> ConnectorTask:
    return OpenAIBatchTask("batch", OpenAIBatchConfig(), local_run=RunOptions(timeout=timeout, poll_interval=0.1))


def no_room(body: bytes) -> bytes:
    """What the emulator says of a batch, as OpenAI says it of one for which others left no room."""
    errors = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
    return json.dumps({**json.loads(body), "status": "failed", "errors": errors}).encode()


FULL = Fault("rewrite", Route("GET", "/v1/batches/[^/]+"), rewrite=no_room)
WELL, BADLY = request_line("a"), request_line("a", "/v1/no/such")
BATCHES = [
    Run(Ending.SUCCESS, batch(), {"completed"}, given=(WELL, None)),
    Run(Ending.FAILURE, batch(), {"failed"}, given=(BADLY, None)),
    Run(Ending.RETRYABLE, batch(), {"validating", "in_progress", "completed"}, given=(WELL, FULL)),
    Run(Ending.TIMEOUT, batch(timeout=1.0), {"cancelled"}, given=(WELL, None)),
    Run(Ending.CTRL_C, batch(), {"cancelled"}, given=(WELL, None)),
]
"""The emulator works on a batch for three seconds."""


@pytest.mark.parametrize("run", BATCHES, ids=str)
async def test_a_local_run_ends_and_so_does_its_batch(
    run: Run, llmock: LLMock, llmock_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, fault = run.given
    run = replace(run, inputs={"input_file_id": await llmock.upload(json.dumps(request).encode())})
    async with FaultProxy(llmock_url) as proxy:
        if fault is not None:
            proxy.set_fault(fault)
        meta = json.loads(await run_to_its_end(run, variables=variables_of(proxy, monkeypatch)))
        creates, cancels = (proxy.seen(Route("POST", f"/v1/batches{end}")) for end in ("", "/[^/]+/cancel"))
    assert len(creates) == 1
    assert bool(cancels) is (run.ending in {Ending.TIMEOUT, Ending.CTRL_C})
    assert (await llmock.call("GET", f"/v1/batches/{meta['batch_id']}"))["status"] in run.fate
