"""Connections that have reached their age: their clients connect anew, and no call fails for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import grpc.aio
import pytest

from connectors._wire.status import Status
from connectors._wire.transport import Call, Limits, Reason, Route, unary
from tests.wire.transport_peers import BOUND_S, Served, message, raw_client, serving, unary_unary, until

pytestmark = pytest.mark.anyio

LAST_STREAM_ID = 2**31 - 1
QUICK, SLOW, HOLD, WATCH = "/t.T/Quick", "/t.T/Slow", "/t.T/Hold", "/t.T/Watch"
TOO_OLD = "the connection has reached its greatest age"


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Handlers:
    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.peers: set[str] = set()

    async def quick(self, call: Call, request: bytes) -> bytes:
        self.peers.add(call.peer)
        return request

    async def slow(self, call: Call, request: bytes) -> bytes:
        await asyncio.sleep(0.05)
        return request

    async def hold(self, call: Call, request: bytes) -> bytes:
        await self.go.wait()
        return request

    async def watch(self, call: Call) -> None:
        await call.send(b"first")
        await asyncio.Event().wait()


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@asynccontextmanager
async def server(handlers: Handlers, *, age: float, grace: float = 60.0) -> AsyncIterator[Served]:
    routes = {
        QUICK: unary(handlers.quick),
        SLOW: unary(handlers.slow),
        HOLD: unary(handlers.hold),
        WATCH: Route(handlers.watch, server_streaming=True, endless=True),
    }
    limits = Limits(max_connection_age=age, max_connection_age_grace=grace)
    async with serving(routes, limits) as served:
        yield served


def propeller(target: str) -> grpc.aio.Channel:
    """As Flyte's backends configure their clients: round robin, and no retry policy."""
    options = [
        ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.insecure_channel(target, options=options)


async def keep_calling(channel: grpc.aio.Channel, path: str, stop: Callable[[], bool]) -> None:
    while not stop():
        assert await unary_unary(channel, path)(b"x", timeout=BOUND_S) == b"x"


@pytest.mark.parametrize("servers", [1, 2])
async def test_no_call_fails_for_it_under_load(handlers: Handlers, servers: int) -> None:
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(server(handlers, age=0.2)) for _ in range(servers)]
        targets = ",".join(served.target for served in running)

        def replaced_often() -> bool:
            return len(handlers.peers) >= 20

        async with asyncio.TaskGroup() as callers:
            for _ in range(3):
                channel = await stack.enter_async_context(propeller(f"ipv4:{targets}"))
                for path in (QUICK, QUICK, QUICK, SLOW):
                    callers.create_task(keep_calling(channel, path, replaced_often))
        assert all(served.rejected == [] for served in running)


async def test_goaway_comes_twice_and_the_connection_ends_with_its_last_call(handlers: Handlers) -> None:
    async with server(handlers, age=0.05) as served, raw_client(served) as client:
        held = client.request(message(b"held"), path=HOLD)
        first, second = await client.read_until_goaway(1), await client.read_until_goaway(2)
        assert (first.last_stream_id, first.error_code) == (LAST_STREAM_ID, 0)
        assert (second.last_stream_id, second.error_code) == (held, 0)
        await client.round_trip()
        handlers.go.set()
        assert (await client.answer(held)).data == message(b"held")
        await client.read_until_closed()
        await until(lambda: served.connections == 0)
        assert served.rejected == []


async def test_a_connection_without_calls_ends_at_once(handlers: Handlers) -> None:
    async with server(handlers, age=0.05) as served, raw_client(served) as client:
        await client.read_until_goaway(2)
        await client.read_until_closed()
        assert served.rejected == []


async def test_a_call_that_outlasts_the_grace_is_answered_unavailable(handlers: Handlers) -> None:
    async with server(handlers, age=0.05, grace=0.1) as served, raw_client(served) as client:
        held = client.request(message(b"held"), path=HOLD)
        answer = await client.answer(held)
        assert (answer.status, answer.message) == (Status.UNAVAILABLE, TOO_OLD)
        await client.read_until_closed()
        assert served.rejected == [(HOLD, Status.UNAVAILABLE, Reason.CONNECTION_AGE)]


async def test_an_endless_call_ends_with_the_last_of_the_others(handlers: Handlers) -> None:
    async with server(handlers, age=0.05) as served, raw_client(served) as client:
        watch = client.request(message(b""), path=WATCH)
        held = client.request(message(b"held"), path=HOLD)
        await client.read_until_goaway(2)
        await client.round_trip()
        assert not client.answers[watch].ended
        handlers.go.set()
        assert (await client.answer(held)).status is Status.OK
        answer = await client.answer(watch)
        assert (answer.status, answer.message) == (Status.UNAVAILABLE, TOO_OLD)
        await client.read_until_closed()
        assert served.connections <= 1


async def test_a_client_that_reads_nothing_is_gone_all_the_same(handlers: Handlers) -> None:
    async with server(handlers, age=0.05) as served, raw_client(served) as client:
        client.pause_reading()
        await until(lambda: served.connections == 1)
        await until(lambda: served.connections == 0)


async def test_connections_of_one_instant_do_not_end_at_one(handlers: Handlers) -> None:
    loop = asyncio.get_running_loop()
    async with server(handlers, age=1.0) as served:

        async def age() -> float:
            began = loop.time()
            async with raw_client(served) as client:
                await client.read_until_goaway()
                return loop.time() - began

        ages = await asyncio.gather(*(age() for _ in range(30)))
    assert min(ages) >= 0.85
    assert max(ages) - min(ages) > 0.05


async def test_a_drain_does_not_wait_for_connections_that_were_old_before_it(handlers: Handlers) -> None:
    async with server(handlers, age=0.05) as served, raw_client(served) as client:
        held = client.request(message(b"held"), path=HOLD)
        await client.read_until_goaway(2)
        draining = asyncio.ensure_future(served.server.drain(60))
        handlers.go.set()
        assert (await client.answer(held)).status is Status.OK
        began = asyncio.get_running_loop().time()
        assert await asyncio.wait_for(draining, BOUND_S) == 0
        assert asyncio.get_running_loop().time() - began < 1.8  # a connection that is waited for takes 2 s
