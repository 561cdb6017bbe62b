"""What the connector's tests share: a server to speak to, credentials to speak with, and the context of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors import (
    ConnectorError,
    HttpClient,
    Interface,
    LiteralType,
    Sql,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskTemplate,
)
from connectors.secrets import SecretRules
from connectors.testing.contexts import NewContext
from connectors.testing.fixtures import http
from connectors_snowflake import SnowflakeConnector, SnowflakeJob, SnowflakeSettings
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake
from tests.emulators.fixtures import snowduck_url

__all__ = ["http", "snowduck_url"]

OWNER = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        project="Sales", domain="production", execution="f3a.1", node_id="n0", retry_attempt=2
    )
)
RESULTS = {"results": LiteralType("structured_dataset")}
KEY = "8d5cf6a3-0f4c-5b0e-9c39-0a2a95644d2e"
CONNECTION: dict[str, Any] = {
    "account": "example-main",
    "user": "loader",
    "database": "sales",
    "schema": "PUBLIC",
    "warehouse": "small",
}


@dataclass(frozen=True)
class KeyPairOf:
    """A user's key, in the forms that a secret may hold."""

    public: rsa.RSAPublicKey
    plain: str
    encrypted: str
    traditional: str
    passphrase: str = "an invented passphrase"


@pytest.fixture(autouse=True)
def no_snowflake_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own credentials are not part of any test."""
    for name in ("PRIVATE_KEY", "PRIVATE_KEY_PASSPHRASE", "OAUTH_TOKEN"):
        monkeypatch.delenv(f"SNOWFLAKE_{name}", raising=False)
        monkeypatch.delenv(f"_FSEC_SNOWFLAKE_{name}", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def key_pair() -> KeyPairOf:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def written(form: serialization.PrivateFormat, encryption: serialization.KeySerializationEncryption) -> str:
        return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()

    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return KeyPairOf(
        public=key.public_key(),
        plain=written(pkcs8, plain),
        encrypted=written(pkcs8, serialization.BestAvailableEncryption(KeyPairOf.passphrase.encode())),
        traditional=written(serialization.PrivateFormat.TraditionalOpenSSL, plain),
    )


@pytest.fixture
def secret(key_pair: KeyPairOf) -> dict[str, str]:
    """The request's secrets, with the user's key."""
    return {"snowflake_private_key": key_pair.plain}


@pytest.fixture
def new_context(http: HttpClient, secret: dict[str, str]) -> NewContext:
    rules = SecretRules(names=(*(SnowflakeConnector.secret_names or ()), "TEAM_*"))
    return NewContext(http, secrets=secret, rules=rules, metadata=OWNER)


@pytest.fixture
def query() -> Callable[..., TaskTemplate]:
    """A task as Flyte 2 sends it; ``flyte1=True``: as Flyte 1 does."""

    def make(
        statement: str = "SELECT 1",
        /,
        *,
        declared: Mapping[str, LiteralType] | None = None,
        outputs: Mapping[str, LiteralType] | None = None,
        flyte1: bool = False,
        **custom: Any,
    ) -> TaskTemplate:
        connection = {**CONNECTION, **custom}
        return TaskTemplate(
            type="snowflake",
            custom={} if flyte1 else {name: value for name, value in connection.items() if value is not None},
            config={name: value for name, value in connection.items() if value is not None} if flyte1 else {},
            sql=Sql(statement, "ANSI"),
            interface=Interface(inputs=declared or {}, outputs=RESULTS if outputs is None else outputs),
        )

    return make


@pytest.fixture
async def snowflake(key_pair: KeyPairOf) -> AsyncIterator[FakeSnowflake]:
    async with FakeSnowflake().serving() as fake:
        fake.keys["EXAMPLE-MAIN.LOADER"] = key_pair.public
        yield fake


@pytest.fixture
async def connector(snowflake: FakeSnowflake) -> AsyncIterator[SnowflakeConnector]:
    connector = SnowflakeConnector(SnowflakeSettings(endpoint=snowflake.url))
    yield connector
    await connector.aclose()


async def attempt(connector: SnowflakeConnector, task: TaskTemplate, new: NewContext) -> SnowflakeJob:
    """What the engine does: the same create, as long as its error says that it may be repeated."""
    for _ in range(3):
        try:
            return await connector.create(task, new(KEY))
        except ConnectorError as error:
            if not error.retryable:
                raise
    return await connector.create(task, new(KEY))
