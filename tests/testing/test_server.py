"""The server of the test kit: the whole service, in the test's own event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from connectors import (
    Context,
    HttpClient,
    Phase,
    Resource,
    SyncConnectorBase,
    TaskCategory,
    TaskTemplate,
)
from connectors.client import CallFailed
from connectors.testing.fixtures import Serve, serve
from connectors.testing.server import ConnectorServer
from tests.testing.nap import NapConnector

__all__ = ["serve"]  # the fixture

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"  # this folder's own has virtual time, which SQLite's thread does not know


class EchoConnector(SyncConnectorBase):
    task_type = "echo"

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        return Resource(Phase.SUCCEEDED, outputs=dict(ctx.inputs))


class UnwantedConnector(EchoConnector):
    task_type = "unwanted"

    @property
    def is_wanted(self) -> bool:
        return False


class SlowConnector(EchoConnector):
    task_type = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        self.entered.set()
        await self.go_on.wait()
        return Resource(Phase.SUCCEEDED, outputs={"x": 1})


class BrokenConnector(EchoConnector):
    task_type = "broken"

    async def start(self, http: HttpClient) -> None:
        raise OSError("no such device")


@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_a_connector_is_called_over_either_protocol(protocol: Literal["flyte1", "flyte2"]) -> None:
    async with ConnectorServer(NapConnector()) as server, server.client(protocol) as client:
        meta = await client.create(TaskTemplate("nap"), {"seconds": 0})
        job = await client.get(TaskCategory("nap"), meta)
    assert (job.phase, job.outputs) == (Phase.SUCCEEDED, {"slept": True})


async def test_the_connectors_live_as_long_as_the_server() -> None:
    nap = NapConnector()
    async with ConnectorServer(nap):
        assert nap.calls == ["start"]
    assert nap.calls == ["start", "aclose"]


async def test_a_call_that_is_in_flight_at_the_end_is_answered() -> None:
    slow = SlowConnector()
    async with AsyncExitStack() as clients:
        async with ConnectorServer(slow) as server:
            client = await clients.enter_async_context(server.client())
            call = asyncio.ensure_future(client.do(TaskTemplate("slow")))
            await slow.entered.wait()
            asyncio.get_running_loop().call_later(0.1, slow.go_on.set)
        assert (await call).outputs == {"x": 1}


async def test_what_the_engine_does_it_does_here() -> None:
    nap = NapConnector()
    async with ConnectorServer(nap) as server, server.client() as client:
        metas = [
            await client.create(TaskTemplate("nap"), {"seconds": 60}, idempotency_key="one-and-the-same")
            for _ in range(2)
        ]
    assert metas[0] == metas[1]
    assert nap.calls.count("create") == 1


async def test_several_connectors_are_served_and_what_is_not_wanted_is_not() -> None:
    connectors = NapConnector(), EchoConnector(), UnwantedConnector()
    async with ConnectorServer(*connectors) as server, server.client() as client:
        listed = [category.name for found in await client.list_connectors() for category in found.categories]
        done = await client.do(TaskTemplate("echo"), {"x": 1})
    assert sorted(listed) == ["echo", "nap"]
    assert done.outputs == {"x": 1}


async def test_two_servers_share_a_store(serve: Serve, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    one, other = NapConnector(), NapConnector()
    metas = []
    for connector in (one, other):
        server = await serve(connector, store=store)
        async with server.client() as client:
            metas.append(await client.create(TaskTemplate("nap"), {"seconds": 60}, idempotency_key="shared"))
    assert metas[0] == metas[1]
    assert (one.calls.count("create"), other.calls.count("create")) == (1, 0)


@pytest.fixture
async def closed_at_the_end() -> AsyncIterator[NapConnector]:
    nap = NapConnector()
    yield nap
    assert nap.calls == ["start", "aclose"]


async def test_the_servers_of_the_fixture_end_with_the_test(closed_at_the_end: NapConnector, serve: Serve) -> None:
    server = await serve(closed_at_the_end)  # the fixtures end in the reverse order
    async with server.client() as client:
        assert len(await client.list_connectors()) == 1


async def test_the_installed_plugins_are_served_where_no_connector_is_given() -> None:
    settings = {"allow_plugins": ["bigquery"], "plugins": {"bigquery": {"endpoint": "http://127.0.0.1:1"}}}
    async with ConnectorServer(**settings) as server, server.client() as client:
        (listed,) = await client.list_connectors()
    assert [category.name for category in listed.categories] == ["bigquery_query_job_task"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"allow_plugins": ["bigquery"], "plugins": {"bigquery": {"endpoint": 3}}}, "endpoint"),
        ({"allow_plugins": ["nothing-of-this-name"]}, "nothing-of-this-name"),
        ({"plugins": {"nothing-of-this-name": {}}}, "nothing-of-this-name"),
    ],
)
async def test_a_plugin_that_cannot_be_served_is_an_error(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        await ConnectorServer(**settings).__aenter__()


async def test_a_connector_that_does_not_start_is_an_error_and_the_others_are_closed() -> None:
    nap = NapConnector()
    with pytest.raises(RuntimeError, match="no such device"):
        await ConnectorServer(nap, BrokenConnector()).__aenter__()
    assert nap.calls == ["start", "aclose"]


async def test_a_setting_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="leese"):
        ConnectorServer(NapConnector(), leese=2.0)


async def test_the_environment_and_the_folder_say_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "connectors.toml").write_text("allow_task_types = 7\n")
    monkeypatch.setenv("CONNECTORS_LEASE", "never")
    with caplog.at_level(logging.WARNING):
        async with ConnectorServer(NapConnector()) as server, server.client() as client:
            assert len(await client.list_connectors()) == 1


async def test_a_server_that_is_not_started_has_no_address_and_one_that_ended_answers_nothing() -> None:
    server = ConnectorServer(NapConnector())
    with pytest.raises(RuntimeError, match="async with"):
        _ = server.address
    async with server:
        address = server.address
        client = server.client()
    with pytest.raises(RuntimeError, match="async with"):
        _ = server.address
    async with client:
        with pytest.raises(CallFailed, match="UNAVAILABLE"):
            await client.list_connectors()
    assert address
