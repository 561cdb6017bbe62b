"""What the connectors' tests share: a server to speak to, a key to speak with, and the context of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors import HttpClient, TaskExecutionId, TaskExecutionMetadata, TaskTemplate
from connectors.testing.contexts import NewContext
from connectors.testing.fixtures import http
from connectors_openai import (
    ChatGPTConnector,
    OpenAIBatchConnector,
    OpenAIEmbeddingsConnector,
    OpenAISettings,
)
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI
from tests.emulators.fixtures import llmock_url

__all__ = ["http", "llmock_url"]

OWNER = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        project="sales", domain="production", execution="f3a1", node_id="n0", retry_attempt=2
    )
)


@pytest.fixture(autouse=True)
def no_openai_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own keys, organisations and proxies are not part of any test."""
    for name in ("API_KEY", "ADMIN_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "CUSTOM_HEADERS", "LOG"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
        monkeypatch.delenv(f"FLYTE_OPENAI_{name}", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def new_context(http: HttpClient) -> NewContext:
    return NewContext(http, secrets={"FLYTE_OPENAI_API_KEY": KEY}, metadata=OWNER)


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
