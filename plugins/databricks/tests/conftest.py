"""What the connector's tests share: a server to speak to, and the context of a call."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol
from uuid import uuid4

import pytest

from connectors import (
    Container,
    Context,
    HttpClient,
    Identifier,
    Secrets,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskTemplate,
)
from connectors.context import Protocol as FlyteProtocol
from connectors.secrets import EnvironmentSecrets, RequestSecrets, SecretSource
from connectors_databricks import DatabricksConnector, DatabricksSettings
from plugins.databricks.tests.fake_databricks import TOKEN, FakeDatabricks
from tests.emulators.fixtures import minilake_url

__all__ = ["minilake_url"]

OWNER = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        project="Sales", domain="production", execution="f3a.1", node_id="n0", retry_attempt=2
    )
)
ARGUMENTS = ("pyflyte-execute", "--inputs", "s3://example/inputs.pb", "--output-prefix", "s3://example/out")
Task = Callable[..., TaskTemplate]


class NewContext(Protocol):
    def __call__(
        self,
        key: str = ...,
        *,
        secrets: Mapping[str, str] | None = ...,
        sources: list[SecretSource] | None = ...,
        protocol: FlyteProtocol = ...,
        metadata: TaskExecutionMetadata | None = ...,
        seconds: float = ...,
        adopt_within: float = ...,
    ) -> Context: ...


@pytest.fixture(autouse=True)
def no_databricks_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own credentials are not part of any test."""
    for name in os.environ:
        if name.startswith(("DATABRICKS_", "FLYTE_DATABRICKS_", "ARM_", "GOOGLE_")):
            monkeypatch.delenv(name)
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
        secrets: Mapping[str, str] | None = None,
        sources: list[SecretSource] | None = None,
        protocol: FlyteProtocol = "flyte1",
        metadata: TaskExecutionMetadata | None = OWNER,
        seconds: float = 30.0,
        adopt_within: float = math.inf,
    ) -> Context:
        brought = {"databricks_token": TOKEN} if secrets is None else secrets
        return Context(
            http=http,
            secrets=Secrets([RequestSecrets(brought), *(sources or []), EnvironmentSecrets()]),
            deadline=asyncio.get_running_loop().time() + seconds,
            idempotency_key=key or str(uuid4()),
            metadata=metadata,
            protocol=protocol,
            adopt_within=adopt_within,
        )

    return make


@pytest.fixture
def task() -> Task:
    def make(
        conf: Mapping[str, Any] | None = None,
        *,
        arguments: tuple[str, ...] = ARGUMENTS,
        env: Mapping[str, str] | None = None,
        **custom: Any,
    ) -> TaskTemplate:
        return TaskTemplate(
            type="databricks",
            id=Identifier(name="features.daily"),
            custom={
                "databricksConf": {"existing_cluster_id": "0101-120000-abc"} if conf is None else conf,
                "sparkConf": {"spark.executor.memory": "4g"},
                **custom,
            },
            container=Container(image="registry.example/spark:1", args=arguments, env=env or {"MODE": "daily"}),
        )

    return make


@pytest.fixture
async def databricks() -> AsyncIterator[FakeDatabricks]:
    async with FakeDatabricks().serving() as fake:
        yield fake


@pytest.fixture
async def connector(databricks: FakeDatabricks) -> AsyncIterator[DatabricksConnector]:
    connector = DatabricksConnector(DatabricksSettings(instances=(databricks.url,)))
    yield connector
    await connector.aclose()
