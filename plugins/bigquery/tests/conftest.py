"""What the connector's tests share: a server to speak to, credentials to speak with, and the context of a call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors import (
    HttpClient,
    Interface,
    LiteralType,
    Sql,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskTemplate,
)
from connectors.testing.contexts import NewContext
from connectors.testing.fixtures import http
from connectors_bigquery import BigQueryConnector, BigQuerySettings
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery
from tests.emulators.fixtures import crucible_url, local_bigquery_url

__all__ = ["crucible_url", "http", "local_bigquery_url"]

OWNER = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        project="Sales", domain="production", execution="f3a.1", node_id="n0", retry_attempt=2
    )
)


@pytest.fixture(autouse=True)
def no_google_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own credentials and emulators are not part of any test."""
    for name in (
        "BIGQUERY_EMULATOR_HOST",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "GCE_METADATA_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def new_context(http: HttpClient) -> NewContext:
    return NewContext(http, metadata=OWNER)


@pytest.fixture
def query() -> Callable[..., TaskTemplate]:
    def make(
        statement: str = "SELECT 1", /, *, declared: Mapping[str, LiteralType] | None = None, **custom: Any
    ) -> TaskTemplate:
        return TaskTemplate(
            type="bigquery_query_job_task",
            custom={"ProjectID": "example-project", "Location": None, "Domain": "production", **custom},
            sql=Sql(statement, "ANSI"),
            interface=Interface(inputs=declared or {}),
        )

    return make


@pytest.fixture
async def bigquery() -> AsyncIterator[FakeBigQuery]:
    async with FakeBigQuery().serving() as fake:
        yield fake


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode()


@pytest.fixture
def service_account(private_key: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "client_email": "queries@example.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": private_key,
        "token_uri": "https://oauth2.googleapis.com/token",
    }


@pytest.fixture
def secret(service_account: dict[str, str]) -> dict[str, str]:
    """The request's secrets, with a service account."""
    return {"google_application_credentials": json.dumps(service_account)}


@pytest.fixture
async def connector(bigquery: FakeBigQuery) -> AsyncIterator[BigQueryConnector]:
    connector = BigQueryConnector(BigQuerySettings(endpoint=bigquery.url), token_url=f"{bigquery.url}/token")
    yield connector
    await connector.aclose()
