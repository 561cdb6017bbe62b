"""How a server ends: nothing in flight is lost, and nobody can keep it from ending."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from connectors._wire.status import Status
from connectors._wire.transport import Call, GrpcServer, Limits, Reason, Route, unary
from tests.wire.transport_peers import BOUND_S, Served, message, raw_client, serving, unary_stream, unary_unary, until

pytestmark = pytest.mark.anyio

LAST_STREAM_ID = 2**31 - 1
REFUSED_STREAM = 7


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Handlers:
    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.started = asyncio.Event()
        self.served = 0

    async def quick(self, call: Call, request: bytes) -> bytes:
        self.served += 1
        return request

    async def hold(self, call: Call, request: bytes) -> bytes:
        self.started.set()
        await self.go.wait()
        return request

    async def watch(self, call: Call) -> None:
        await call.send(b"first")
        self.started.set()
        await asyncio.Event().wait()


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


def routes(handlers: Handlers) -> dict[str, Route]:
    return {
        "/t.T/Quick": unary(handlers.quick),
        "/t.T/Hold": unary(handlers.hold),
        "/t.T/Watch": Route(handlers.watch, server_streaming=True, endless=True),
    }


@pytest.fixture
async def served(handlers: Handlers) -> AsyncIterator[Served]:
    async with serving(routes(handlers)) as running:
        yield running


async def test_a_drain_lets_a_call_in_flight_finish(served: Served, handlers: Handlers) -> None:
    async with raw_client(served) as observer, grpc.aio.insecure_channel(served.target) as channel:
        await observer.round_trip()
        call = asyncio.ensure_future(unary_unary(channel, "/t.T/Hold")(b"kept"))
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        draining = asyncio.ensure_future(served.server.drain(BOUND_S))
        await observer.read_until_goaway(2)
        assert not draining.done()
        handlers.go.set()
        assert await asyncio.wait_for(call, BOUND_S) == b"kept"
        assert await asyncio.wait_for(draining, BOUND_S) == 0
    assert (served.connections, served.in_flight, served.rejected) == (0, 0, [])


async def test_a_client_with_two_servers_loses_no_call_when_one_drains(handlers: Handlers) -> None:
    others = Handlers()
    async with serving(routes(handlers)) as first, serving(routes(others)) as second:
        target = f"ipv4:{first.target},{second.target}"
        options = [("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            quick = unary_unary(channel, "/t.T/Quick")
            async with asyncio.timeout(BOUND_S):
                while not (handlers.served and others.served):  # until both are in the rotation
                    await quick(b"", wait_for_ready=True)
            stop = asyncio.Event()
            answered = 0

            async def keep_calling() -> None:
                nonlocal answered
                while not stop.is_set():
                    assert await quick(b"x", timeout=BOUND_S) == b"x"
                    answered += 1

            async with asyncio.TaskGroup() as callers:
                for _ in range(8):
                    callers.create_task(keep_calling())
                assert await asyncio.wait_for(first.server.drain(BOUND_S), BOUND_S) == 0
                after, served_before = answered, others.served
                await until(lambda: answered >= after + 50)
                stop.set()
            assert others.served > served_before
            assert first.rejected == second.rejected == []


async def test_a_drain_says_goaway_twice_and_the_second_time_names_the_last_stream(served: Served) -> None:
    async with raw_client(served) as client:
        await client.answer(client.request(message(b"a"), path="/t.T/Quick"))
        draining = asyncio.ensure_future(served.server.drain(BOUND_S))
        first = await client.read_until_goaway(1)
        assert (first.last_stream_id, first.error_code) == (LAST_STREAM_ID, 0)
        second = await client.read_until_goaway(2)
        assert (second.last_stream_id, second.error_code) == (1, 0)
        await client.read_until_closed()
        assert await draining == 0


async def test_a_call_sent_before_the_client_saw_the_goaway_is_served(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        client.confirms = False
        draining = asyncio.ensure_future(served.server.drain(BOUND_S))
        await client.read_until_goaway(1)
        late = client.request(message(b"late"), path="/t.T/Quick")
        await client.confirm_ping()
        await client.confirm_ping()
        await client.round_trip()
        await client.round_trip()
        assert len(client.goaways) == 2  # at once, not when the time allowed for the ping is over
        answer = await client.answer(late)
        assert (answer.status, answer.data) == (Status.OK, message(b"late"))
        assert (await client.read_until_goaway(2)).last_stream_id == late
        assert await draining == 0


@pytest.mark.parametrize("ping", [1, 2])
async def test_a_call_that_comes_in_one_write_with_the_confirmation_is_served(served: Served, ping: int) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        client.confirms = False
        draining = asyncio.ensure_future(served.server.drain(BOUND_S))
        await client.read_until_goaway(1)
        if ping == 2:
            await client.confirm_ping()
        behind = client.take_writes()
        await client.confirm_ping()
        late = client.request(message(b"late"), path="/t.T/Quick")
        behind()
        client.confirms = True
        answer = await client.answer(late)
        assert (answer.status, answer.data) == (Status.OK, message(b"late"))
        assert (await client.read_until_goaway(2)).last_stream_id == late
        assert await draining == 0


async def test_a_call_after_the_last_goaway_is_refused_as_safe_to_retry(served: Served, handlers: Handlers) -> None:
    async with raw_client(served) as client:
        held = client.request(message(b"held"), path="/t.T/Hold")
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        draining = asyncio.ensure_future(served.server.drain(BOUND_S))
        await client.read_until_goaway(2)
        answer = await client.answer(client.request(message(b"too late"), path="/t.T/Quick"))
        assert (answer.reset, answer.headers, handlers.served) == (REFUSED_STREAM, {}, 0)
        handlers.go.set()
        assert (await client.answer(held)).data == message(b"held")
        assert await draining == 0


async def test_a_client_that_never_confirms_the_ping_does_not_hold_up_the_drain(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        client.confirms = False
        draining = asyncio.ensure_future(served.server.drain(60))
        await client.read_until_goaway(2)
        assert await asyncio.wait_for(draining, BOUND_S) == 0


async def test_a_client_that_connects_and_says_nothing_does_not_hold_up_the_drain(served: Served) -> None:
    _, writer = await asyncio.open_connection(served.host, served.port)
    await until(lambda: served.connections == 1)
    assert await asyncio.wait_for(served.server.drain(60), BOUND_S) == 0
    writer.close()


async def test_a_call_that_outlasts_the_grace_is_answered_unavailable_and_counted(
    served: Served, handlers: Handlers
) -> None:
    async with grpc.aio.insecure_channel(served.target) as channel:
        call = unary_unary(channel, "/t.T/Hold")(b"")
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        assert await asyncio.wait_for(served.server.drain(0.1), BOUND_S) == 1
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
    assert (raised.value.code(), raised.value.details()) == (
        grpc.StatusCode.UNAVAILABLE,
        "the server is shutting down",
    )
    assert served.rejected == [("/t.T/Hold", Status.UNAVAILABLE, Reason.SHUTDOWN)]
    assert served.in_flight == 0


async def test_an_endless_call_is_neither_waited_for_nor_counted(served: Served, handlers: Handlers) -> None:
    async with grpc.aio.insecure_channel(served.target) as channel:
        call = unary_stream(channel, "/t.T/Watch")(b"")
        assert await call.read() == b"first"
        assert await asyncio.wait_for(served.server.drain(60), BOUND_S) == 0
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_endless_call_goes_on_while_a_drain_waits_for_others(served: Served, handlers: Handlers) -> None:
    async with raw_client(served) as client:
        watch = client.request(message(b""), path="/t.T/Watch")
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        handlers.started.clear()
        held = client.request(message(b"held"), path="/t.T/Hold")
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        draining = asyncio.ensure_future(served.server.drain(BOUND_S))
        await client.read_until_goaway(2)
        await client.round_trip()
        assert not client.answers[watch].ended
        handlers.go.set()
        assert (await client.answer(held)).status is Status.OK
        assert (await client.answer(watch)).status is Status.UNAVAILABLE
        assert await draining == 0


async def test_a_drain_stops_listening_at_once(served: Served, handlers: Handlers) -> None:
    async with raw_client(served) as client:
        held = client.request(message(b"kept"), path="/t.T/Hold")
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        draining = asyncio.ensure_future(served.server.drain(BOUND_S))
        await client.read_until_goaway(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(served.host, served.port)
        handlers.go.set()
        assert (await client.answer(held)).data == message(b"kept")
        assert await draining == 0


async def test_a_close_during_a_drain_ends_it(served: Served, handlers: Handlers) -> None:
    async with grpc.aio.insecure_channel(served.target) as channel:
        call = unary_unary(channel, "/t.T/Hold")(b"")
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        draining = asyncio.ensure_future(served.server.drain(60))
        await asyncio.sleep(0)
        await asyncio.wait_for(served.server.close(), BOUND_S)
        await asyncio.wait_for(draining, BOUND_S)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_close_answers_calls_in_flight_and_closes_idle_clients(served: Served, handlers: Handlers) -> None:
    async with raw_client(served) as client, raw_client(served) as idle:
        held = client.request(message(b"held"), path="/t.T/Hold")
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        await idle.round_trip()
        await asyncio.wait_for(served.server.close(), BOUND_S)
        answer = await client.answer(held)
        assert (answer.status, answer.message) == (Status.UNAVAILABLE, "the server is shutting down")
        assert (await idle.read_until_goaway()).error_code == 0
        await idle.read_until_closed()
    assert (served.connections, served.in_flight) == (0, 0)


async def test_a_client_that_reads_nothing_does_not_hold_up_a_close(handlers: Handlers) -> None:
    async def flood(call: Call) -> None:
        while True:
            await call.send(b"x" * 65_536)
            handlers.started.set()

    async with (
        serving({"/t.T/Flood": Route(flood, server_streaming=True)}) as served,
        raw_client(served, settings={4: LAST_STREAM_ID}) as client,
    ):
        client.grant(0, 2**30)
        client.request(message(b""), path="/t.T/Flood")
        client.pause_reading()
        await asyncio.wait_for(handlers.started.wait(), BOUND_S)
        await asyncio.wait_for(served.server.close(), BOUND_S)
        assert served.connections == 0


async def test_closing_twice_and_closing_what_was_never_started_is_harmless(served: Served) -> None:
    await served.server.close()
    await served.server.close()
    assert await served.server.drain(1) == 0


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = GrpcServer({}, limits=Limits(), on_rejected=lambda *_: None, on_unhandled=lambda *_: "")
        with pytest.raises(OSError, match="address already in use"):
            await server.start("127.0.0.1", taken.getsockname()[1])
