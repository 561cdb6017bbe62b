"""What the connectors' tests share: a server to speak to, a key to speak with, and the context of a call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from uuid import uuid4

import pytest

from connectors import Context, HttpClient, Secrets, TaskExecutionId, TaskExecutionMetadata, TaskTemplate
from connectors.secrets import EnvironmentSecrets, RequestSecrets
from connectors_openai import (
    ChatGPTConnector,
    OpenAIBatchConnector,
    OpenAIEmbeddingsConnector,
    OpenAISettings,
)
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI
from tests.emulators.fixtures import llmock_url

__all__ = ["llmock_url"]

OWNER = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        project="sales", domain="production", execution="f3a1", node_id="n0", retry_attempt=2
    )
)


class NewContext(Protocol):
    def __call__(
        self,
        key: str = ...,
        *,
        inputs: Mapping[str, Any] = ...,
        secrets: Mapping[str, str] | None = ...,
        metadata: TaskExecutionMetadata | None = ...,
        seconds: float = ...,
        adopt_within: float = ...,
    ) -> Context: ...


@pytest.fixture(autouse=True)
def no_openai_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own keys, organisations and proxies are not part of any test."""
    for name in ("API_KEY", "ADMIN_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "CUSTOM_HEADERS", "LOG"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
        monkeypatch.delenv(f"FLYTE_OPENAI_{name}", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture
def new_context(http: HttpClient) -> NewContext:
    def make(
        key: str = "",
        *,
        inputs: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        metadata: TaskExecutionMetadata | None = OWNER,
        seconds: float = 30.0,
        adopt_within: float = math.inf,
    ) -> Context:
        brought = {"FLYTE_OPENAI_API_KEY": KEY} if secrets is None else secrets
        return Context(
            http=http,
            secrets=Secrets([RequestSecrets(brought), EnvironmentSecrets()]),
            deadline=asyncio.get_running_loop().time() + seconds,
            idempotency_key=key or str(uuid4()),
            metadata=metadata,
            inputs=lambda: inputs or {},
            protocol="flyte1",
            adopt_within=adopt_within,
        )

    return make


@pytest.fixture
async def openai() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI().serving() as fake:
        yield fake


@pytest.fixture
async def chat(openai: FakeOpenAI) -> AsyncIterator[ChatGPTConnector]:
    connector = ChatGPTConnector(OpenAISettings(base_url=f"{openai.url}/v1"))
    yield connector
    await connector.aclose()


@pytest.fixture
async def embeddings(openai: FakeOpenAI) -> AsyncIterator[OpenAIEmbeddingsConnector]:
    connector = OpenAIEmbeddingsConnector(OpenAISettings(base_url=f"{openai.url}/v1"))
    yield connector
    await connector.aclose()


@pytest.fixture
async def batch(openai: FakeOpenAI) -> AsyncIterator[OpenAIBatchConnector]:
    connector = OpenAIBatchConnector(OpenAISettings(base_url=f"{openai.url}/v1"))
    yield connector
    await connector.aclose()


def chat_task(**custom: Any) -> TaskTemplate:
    return TaskTemplate("chatgpt", custom={"openai_organization": "", "chatgpt_config": {"model": "gpt-6"}, **custom})


def embeddings_task(**config: Any) -> TaskTemplate:
    return TaskTemplate("openai-embeddings", custom={"config": {"model": "text-embedding-3-small", **config}})


def batch_task(**custom: Any) -> TaskTemplate:
    return TaskTemplate("openai-batch", custom={"openai_organization": "org-a", "config": {}, **custom})
