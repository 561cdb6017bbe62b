"""The health service, called by gRPC's own stubs."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from connectors._wire.health import Health
from connectors._wire.routes import SERVICES
from tests.wire.connectors_for_tests import Served, serving

pytestmark = pytest.mark.anyio

Request, Response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse


@pytest.fixture
def stub(served: Served) -> Any:
    return stub_of(served)


def stub_of(served: Served) -> Any:
    """The published types know no asyncio."""
    return health_pb2_grpc.HealthStub(served.channel)


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_each_service_and_the_server_are_serving_until_the_server_drains(
    served: Served, stub: Any, service: str
) -> None:
    before = await stub.Check(Request(service=service), timeout=10)
    served.health.set_serving(False)
    after = await stub.Check(Request(service=service), timeout=10)
    assert (before.status, after.status) == (Response.SERVING, Response.NOT_SERVING)


async def test_a_service_that_is_not_there_is_not_found(served: Served, stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.Check(Request(service="acme.Nonsense"), timeout=10)
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    assert [reason for _, _, reason in served.rejected] == ["unknown_name"]


async def test_a_watch_tells_of_the_status_at_once_and_of_each_change(served: Served, stub: Any) -> None:
    watch = stub.Watch(Request(service=SERVICES[0]), timeout=10)
    found = [(await watch.read()).status]
    for takes_calls in (False, True):
        served.health.set_serving(takes_calls)
        found.append((await watch.read()).status)
    assert found == [Response.SERVING, Response.NOT_SERVING, Response.SERVING]


async def test_a_watch_of_an_unknown_service_says_so_and_stays_open(served: Served, stub: Any) -> None:
    watch = stub.Watch(Request(service="acme.Nonsense"), timeout=30)
    assert (await watch.read()).status == Response.SERVICE_UNKNOWN
    served.health.set_serving(False)
    more = asyncio.ensure_future(watch.read())
    came, _ = await asyncio.wait({more}, timeout=0.5)
    watch.cancel()
    await asyncio.gather(more, return_exceptions=True)
    assert not came


async def test_watches_beyond_the_limit_are_refused_and_one_that_ends_makes_room() -> None:
    async with serving(health=Health(SERVICES, most_watchers=3)) as served:
        stub = stub_of(served)
        watches = [stub.Watch(Request(), timeout=30) for _ in range(3)]
        for watch in watches:
            assert (await watch.read()).status == Response.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Watch(Request(), timeout=10).read()
        assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [reason for _, _, reason in served.rejected] == ["too_many_watchers"]
        watches[0].cancel()
        # on one connection the server hears of the cancelled one before it hears of what follows
        assert (await stub.Watch(Request(), timeout=10).read()).status == Response.SERVING


async def test_the_list_names_every_service(served: Served, stub: Any) -> None:
    all_of_them: Any = health_pb2  # the published types know no List
    statuses = (await stub.List(all_of_them.HealthListRequest(), timeout=10)).statuses
    assert {name: each.status for name, each in statuses.items()} == dict.fromkeys(("", *SERVICES), Response.SERVING)
