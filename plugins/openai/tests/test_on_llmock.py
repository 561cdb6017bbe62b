"""A real server with the three plugins, over an OpenAI that others wrote: the service alone tries again."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors import Interface, LiteralType, Phase, Resource, TaskCategory, TaskTemplate
from connectors.client import CallFailed, ConnectorClient
from connectors.testing.contexts import NewContext
from connectors_openai import (
    ChatGPTConfig,
    OpenAIBatchConfig,
    OpenAIBatchConnector,
    OpenAIEmbeddingsConfig,
    OpenAISettings,
)
from demo.server_process import Server, running_server
from plugins.openai.tests.conftest import OWNER

pytestmark = pytest.mark.anyio
TEXT = LiteralType("string")
VECTORS = LiteralType("collection", element=LiteralType("collection", element=LiteralType("float")))
CHAT = TaskTemplate(
    "chatgpt", custom=ChatGPTConfig("gpt-4o").to_custom(), interface=Interface({"message": TEXT}, {"o0": TEXT})
)
EMBEDDINGS = TaskTemplate(
    "openai-embeddings",
    custom=OpenAIEmbeddingsConfig("text-embedding-3-small").to_custom(),
    interface=Interface({"texts": LiteralType("collection", element=TEXT)}, {"vectors": VECTORS}),
)
BATCH = TaskTemplate(
    "openai-batch",
    custom=OpenAIBatchConfig(metadata={"team": "sales"}).to_custom(),
    interface=Interface({"input_file_id": TEXT}, {"result": LiteralType("struct")}),
)


@pytest.fixture(scope="module")
def server(llmock_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    variables = {
        "OPENAI_BASE_URL": f"{llmock_url}/v1",
        "FLYTE_OPENAI_API_KEY": "sk-an-invented-key",
        "CONNECTORS_ALLOW_PLUGINS": "openai",
        "NO_PROXY": "127.0.0.1",
    }
    folder: Path = tmp_path_factory.mktemp("server")
    with running_server(folder, port=0, metrics_port=0, variables=variables) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[ConnectorClient]:
    async with ConnectorClient(server.address, timeout=30.0) as client:
        yield client


class LLMock:
    """Its own side: scripted faults, files, and how it judges what came."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def call(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> Any:
        def send() -> Any:
            headers = {"Content-Type": content_type}
            request = urllib.request.Request(  # noqa: S310 - the emulator's own URL
                self._url + path, data=body or None, method=method, headers=headers
            )
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=30) as answer:
                return json.loads(answer.read())

        return await asyncio.to_thread(send)

    async def fail(self, path: str, status: int, *, times: int, retry_after: float) -> None:
        match = {"path": path}
        fault = {"type": "fail", "status": status, "times": times, "retry_after": retry_after, "match": match}
        await self.call("POST", "/_llmock/scenario", json.dumps({"behaviors": [fault]}).encode())

    async def reply(self, **reply: Any) -> None:
        await self.call("POST", "/_llmock/scenario", json.dumps({"behaviors": [{"type": "reply", **reply}]}).encode())

    async def requests(self, path: str) -> int:
        journal = await self.call("GET", "/_llmock/requests")
        return sum(each["path"] == path for each in journal["requests"])

    async def upload(self, content: bytes) -> str:
        uploaded: str = (await self.call("POST", "/v1/files", content, "application/jsonl"))["id"]
        return uploaded

    async def check(self) -> None:
        """Nothing was tried again too soon, too often, or in vain, and nothing was given up at once."""
        verdict = await self.call("GET", "/_llmock/verdict")
        assert (verdict["findings"], verdict["passed"]) == ([], True)


@pytest.fixture
async def llmock(llmock_url: str) -> LLMock:
    emulator = LLMock(llmock_url)
    await emulator.call("POST", "/_llmock/reset")
    return emulator


def prefix() -> str:
    return f"s3://bucket/{uuid4()}/n0/0"


async def until(
    client: ConnectorClient, meta: bytes, is_it: Callable[[Resource], bool], *, task_type: str = "openai-batch"
) -> Resource:
    """The job as soon as it is so; the emulator works on a batch for three seconds."""
    async with asyncio.timeout(60):
        while True:
            found = await client.get(TaskCategory(task_type), meta)
            if is_it(found):
                return found
            await asyncio.sleep(0.2)


def usage(server: Server, task_type: str, unit: str) -> float:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server.metrics_url}", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf'flyte_connector_usage_total{{task_type="{task_type}",unit="{unit}"}} (\S+)', text)
    return float(found[1]) if found else 0.0


# --- chats


async def test_a_chat_answers_and_its_tokens_are_counted(
    client: ConnectorClient, server: Server, llmock: LLMock
) -> None:
    before = usage(server, "chatgpt", "output_tokens")
    await llmock.reply(text="The capital of France is Paris.")
    done = await client.do(CHAT, {"message": "What is the capital of France?"}, output_prefix=prefix())
    assert (done.phase, done.outputs) == (Phase.SUCCEEDED, {"o0": "The capital of France is Paris."})
    assert done.custom_info is not None
    assert done.custom_info["usage"]["output_tokens"] > 0
    assert usage(server, "chatgpt", "output_tokens") - before == done.custom_info["usage"]["output_tokens"]
    await llmock.check()


async def test_a_limit_is_waited_for_as_long_as_it_asks(client: ConnectorClient, llmock: LLMock) -> None:
    await llmock.fail("/v1/chat/completions", 429, times=3, retry_after=1)
    done = await client.do(CHAT, {"message": "Hello"}, output_prefix=prefix())
    assert done.phase is Phase.SUCCEEDED
    assert await llmock.requests("/v1/chat/completions") == 4
    await llmock.check()


async def test_what_no_repeat_would_mend_is_asked_once(client: ConnectorClient, llmock: LLMock) -> None:
    await llmock.fail("/v1/chat/completions", 400, times=5, retry_after=0)
    with pytest.raises(CallFailed) as failed:
        await client.do(CHAT, {"message": "Hello"}, output_prefix=prefix())
    assert failed.value.status == "INVALID_ARGUMENT"
    assert await llmock.requests("/v1/chat/completions") == 1
    await llmock.check()


async def test_a_filtered_answer_is_a_failure_with_a_name(client: ConnectorClient, llmock: LLMock) -> None:
    await llmock.reply(text="Here is how", finish_reason="content_filter")
    done = await client.do(CHAT, {"message": "Hello"}, output_prefix=prefix())
    assert done.phase is Phase.FAILED
    assert done.error is not None
    assert done.error.code == "ContentFiltered"


async def test_on_flyte_2_a_chat_runs_as_a_job_with_the_key_of_its_connection(server: Server, llmock: LLMock) -> None:
    await llmock.reply(text="Paris.")
    async with ConnectorClient(server.address, "flyte2", timeout=30.0) as client:
        secrets = {"openai_api_key": "sk-the-callers-own-key"}
        inputs = {"message": "What is the capital of France?"}
        meta = await client.create(CHAT, inputs, output_prefix=prefix(), metadata=OWNER, secrets=secrets)
        done = await until(client, meta, lambda found: found.phase.is_terminal, task_type="chatgpt")
    assert (done.phase, done.outputs) == (Phase.SUCCEEDED, {"o0": "Paris."})


# --- embeddings


async def test_texts_become_vectors(client: ConnectorClient, llmock: LLMock) -> None:
    await llmock.fail("/v1/embeddings", 429, times=1, retry_after=1)
    done = await client.do(EMBEDDINGS, {"texts": ["one", "two", "one"]}, output_prefix=prefix())
    assert done.phase is Phase.SUCCEEDED
    assert done.outputs is not None
    first, second, third = done.outputs["vectors"]
    assert len(first) == len(second) == 1536
    assert first == third != second
    await llmock.check()


# --- batches


def request_line(custom_id: str, url: str = "/v1/chat/completions") -> dict[str, Any]:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": custom_id}]}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


async def upload(llmock: LLMock, *requests: dict[str, Any]) -> dict[str, str]:
    return {"input_file_id": await llmock.upload(b"\n".join(json.dumps(each).encode() for each in requests))}


async def test_a_whole_batch_with_an_error_file(client: ConnectorClient, llmock: LLMock) -> None:
    inputs = await upload(llmock, request_line("a"), request_line("b", "/v1/no/such"), request_line("c"))
    await llmock.fail("/v1/batches", 429, times=2, retry_after=1)
    meta = await client.create(BATCH, inputs, output_prefix=prefix())
    await llmock.fail("/v1/batches/*", 429, times=1, retry_after=1)
    done = await until(client, meta, lambda found: found.phase.is_terminal)
    assert done.phase is Phase.SUCCEEDED
    assert done.message == "the batch is completed; 1 of 3 requests failed"
    assert done.outputs is not None
    result = done.outputs["result"]
    assert result["metadata"]["team"] == "sales"
    assert result["input_file_id"] == inputs["input_file_id"]
    assert [record["custom_id"] for record in result["output_records"]] == ["a", "c"]
    assert [record["custom_id"] for record in result["error_records"]] == ["b"]
    page = await client.get_logs(TaskCategory("openai-batch"), meta, lines=2)
    rest = await client.get_logs(TaskCategory("openai-batch"), meta, token=page.token)
    kinds = [line.message.partition(":")[0] for line in (*page.lines, *rest.lines)]
    assert kinds == ["batch", "error", "output", "output"]
    assert rest.token == ""
    await llmock.check()


async def test_the_same_create_again_is_the_same_batch(client: ConnectorClient, llmock: LLMock) -> None:
    inputs, where = await upload(llmock, request_line("a")), prefix()
    first = await client.create(BATCH, inputs, output_prefix=where, metadata=OWNER)
    assert await client.create(BATCH, inputs, output_prefix=where, metadata=OWNER) == first


async def test_another_server_that_knows_nothing_finds_the_batch_by_its_key(
    new_context: NewContext, llmock: LLMock, llmock_url: str
) -> None:
    inputs, key, found = await upload(llmock, request_line("a")), str(uuid4()), set()
    for _ in range(2):
        connector = OpenAIBatchConnector(OpenAISettings(f"{llmock_url}/v1"))
        found.add(await connector.create(BATCH, new_context(key, inputs=inputs)))
        await connector.aclose()
    assert len(found) == 1


async def test_a_delete_cancels_the_batch_and_a_second_one_is_quiet(client: ConnectorClient, llmock: LLMock) -> None:
    meta = await client.create(BATCH, await upload(llmock, request_line("a")), output_prefix=prefix())
    category = TaskCategory("openai-batch")
    await client.delete(category, meta)
    await client.delete(category, meta)
    batch = await llmock.call("GET", f"/v1/batches/{json.loads(meta)['batch_id']}")
    assert batch["status"] == "cancelled"


async def test_a_file_that_there_is_not_makes_no_batch(client: ConnectorClient, llmock: LLMock) -> None:
    with pytest.raises(CallFailed) as failed:
        await client.create(BATCH, {"input_file_id": "file-none"}, output_prefix=prefix())
    assert failed.value.status == "INVALID_ARGUMENT"
    assert "file-none" in failed.value.message
