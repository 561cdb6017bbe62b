"""What tasks in Python send and return, with the installed plugin, and key and address in the environment."""

from __future__ import annotations

import pytest

from connectors import Unauthenticated
from connectors.local import TaskFailed
from connectors_openai import (
    ChatGPTConfig,
    ChatGPTTask,
    OpenAIBatchConfig,
    OpenAIBatchTask,
    OpenAIEmbeddingsConfig,
    OpenAIEmbeddingsTask,
)
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI, vector_of

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def environment(openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{openai.url}/v1")
    monkeypatch.setenv("FLYTE_OPENAI_API_KEY", KEY)


def chat() -> ChatGPTTask:
    return ChatGPTTask("chat", ChatGPTConfig("a-model"))


async def test_a_chat_returns_the_answer(openai: FakeOpenAI) -> None:
    assert await chat().run(message="Who is there?") == "Hello."
    assert openai.last("/chat").body["messages"] == [{"role": "user", "content": "Who is there?"}]


async def test_embeddings_return_a_list_of_floats_for_each_text(openai: FakeOpenAI) -> None:
    task = OpenAIEmbeddingsTask("embed", OpenAIEmbeddingsConfig("a-model", dimensions=3, organization="org-a"))
    assert await task.run(texts=["one", "three"]) == [vector_of("one"), vector_of("three")]
    sent = openai.last("/embeddings")
    assert (sent.body["model"], sent.body["dimensions"], sent.body["input"]) == ("a-model", 3, ["one", "three"])
    assert sent.headers["OpenAI-Organization"] == "org-a"


async def test_a_batch_returns_itself_as_a_dict(openai: FakeOpenAI) -> None:
    openai.new_status = "completed"
    result = await OpenAIBatchTask("batch", OpenAIBatchConfig(metadata={"team": "sales"})).run(input_file_id="file-1")
    assert (result["id"], result["input_file_id"], result["metadata"]["team"]) == ("batch_0000", "file-1", "sales")


async def test_a_refused_chat_fails_the_task(openai: FakeOpenAI) -> None:
    openai.choice["message"] = {"role": "assistant", "content": None, "refusal": "I would rather not."}
    with pytest.raises(TaskFailed, match="I would rather not"):
        await chat().run(message="Who is there?")


async def test_a_key_that_is_refused_is_an_error(openai: FakeOpenAI) -> None:
    openai.keys.clear()
    with pytest.raises(Unauthenticated):
        await chat().run(message="Who is there?")
