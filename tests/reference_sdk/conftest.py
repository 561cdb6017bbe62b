"""A real server with every plugin, before platforms that record what they are sent; and what flytekit's classes say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from anyio.from_thread import start_blocking_portal
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors import ResourceMeta
from demo.emulators import EmulatorUnavailable
from demo.server_process import Server, running_server
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery
from plugins.bigquery.tests.test_contract import METAS as BIGQUERY_METAS
from plugins.databricks.tests.fake_databricks import TOKEN, FakeDatabricks
from plugins.databricks.tests.test_contract import METAS as DATABRICKS_METAS
from plugins.http.tests.fake_service import FakeService
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI
from plugins.openai.tests.test_contract import METAS as OPENAI_METAS
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake
from plugins.snowflake.tests.test_contract import METAS as SNOWFLAKE_METAS
from tests.reference_sdk.callers import Backend, Flyte1, Flyte2
from tests.reference_sdk.environment import Answers, ask

OUR_METAS: Mapping[str, Sequence[ResourceMeta]] = {
    "bigquery": BIGQUERY_METAS,
    "databricks": DATABRICKS_METAS,
    "openai-batch": OPENAI_METAS,
    "snowflake": SNOWFLAKE_METAS,
}
THEIR_METAS: Mapping[str, Mapping[str, Any]] = {
    "bigquery": {"job_id": "j-1", "project": "example-project", "location": "EU"},
    "databricks": {"databricks_instance": "example.cloud.databricks.com", "run_id": "17", "auth_token": "invented"},
    "openai-batch": {"openai_org": "org-a", "batch_id": "batch_1"},
    "snowflake": {
        "user": "loader",
        "account": "example-main",
        "database": "sales",
        "schema": "PUBLIC",
        "warehouse": "small",
        "query_id": "01b2c3d4-0000-1111-2222-000000000001",
        "has_output": True,
    },
}


@dataclass(frozen=True)
class Platforms:
    """One of each."""

    bigquery: FakeBigQuery
    databricks: FakeDatabricks
    openai: FakeOpenAI
    snowflake: FakeSnowflake
    service: FakeService


@asynccontextmanager
async def _serving(key: rsa.RSAPublicKey) -> AsyncIterator[Platforms]:
    async with AsyncExitStack() as ending:
        bigquery = await ending.enter_async_context(FakeBigQuery().serving())
        bigquery.requires_token = False  # an emulator's, which is sent none
        databricks = await ending.enter_async_context(FakeDatabricks().serving())
        openai = await ending.enter_async_context(FakeOpenAI().serving())
        snowflake = await ending.enter_async_context(FakeSnowflake().serving())
        snowflake.keys["EXAMPLE-MAIN.LOADER"] = key
        service = await ending.enter_async_context(FakeService().serving())
        yield Platforms(bigquery, databricks, openai, snowflake, service)


@pytest.fixture(scope="session")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def platforms(private_key: rsa.RSAPrivateKey) -> Iterator[Platforms]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_serving(private_key.public_key())) as serving,
    ):
        yield serving


@pytest.fixture(scope="session")
def answers(platforms: Platforms) -> Answers:
    """What the reference's own classes say."""
    try:
        return ask(
            places={"databricks": platforms.databricks.place, "webhook": platforms.service.url},
            write=THEIR_METAS,
            read={name: [meta.encode() for meta in metas] for name, metas in OUR_METAS.items()},
        )
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def server(
    platforms: Platforms, private_key: rsa.RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    variables = {
        # whatever else is installed beside the project is not part of these tests
        "CONNECTORS_ALLOW_PLUGINS": "bigquery,databricks,http,openai,snowflake",
        "BIGQUERY_EMULATOR_HOST": platforms.bigquery.url,
        "CONNECTORS_OPENAI__BASE_URL": f"{platforms.openai.url}/v1",
        "CONNECTORS_DATABRICKS__INSTANCES": platforms.databricks.url,
        "CONNECTORS_DATABRICKS__SPARK": "true",
        "CONNECTORS_SNOWFLAKE__ACCOUNTS": "example-main",
        "CONNECTORS_SNOWFLAKE__ENDPOINT": platforms.snowflake.url,
        "CONNECTORS_HTTP__HOSTS": platforms.service.url,
        "CONNECTORS_HTTP__PRIVATE_NETWORKS": "127.0.0.0/8",
        "FLYTE_DATABRICKS_ACCESS_TOKEN": TOKEN,
        "FLYTE_OPENAI_API_KEY": KEY,
        "NO_PROXY": "127.0.0.1",
        "_FSEC_SNOWFLAKE_PRIVATE_KEY": private_key.private_bytes(*form).decode(),
    }
    with running_server(tmp_path_factory.mktemp("server"), port=0, metrics_port=0, variables=variables) as running:
        yield running


@pytest.fixture(scope="session")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def flyte1(channel: grpc.Channel) -> Flyte1:
    return Flyte1(channel)


@pytest.fixture(params=[Flyte1, Flyte2])
def backend(request: pytest.FixtureRequest, channel: grpc.Channel) -> Backend:
    made: Backend = request.param(channel)
    return made
