"""What the connector's tests share: a server to speak to, and the context of a call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from connectors import (
    Container,
    HttpClient,
    Identifier,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskTemplate,
)
from connectors.testing.contexts import NewContext
from connectors.testing.fixtures import http
from connectors_databricks import DatabricksConnector, DatabricksSettings
from plugins.databricks.tests.fake_databricks import TOKEN, FakeDatabricks
from tests.emulators.fixtures import minilake_url

__all__ = ["http", "minilake_url"]

OWNER = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        project="Sales", domain="production", execution="f3a.1", node_id="n0", retry_attempt=2
    )
)
ARGUMENTS = ("pyflyte-execute", "--inputs", "s3://example/inputs.pb", "--output-prefix", "s3://example/out")
Task = Callable[..., TaskTemplate]


@pytest.fixture(autouse=True)
def no_databricks_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own credentials are not part of any test."""
    for name in os.environ:
        if name.startswith(("DATABRICKS_", "FLYTE_DATABRICKS_", "ARM_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def new_context(http: HttpClient) -> NewContext:
    return NewContext(http, secrets={"databricks_token": TOKEN}, metadata=OWNER)


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
