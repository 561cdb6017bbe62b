"""Calls as Google's own gRPC client makes them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from connectors._wire.status import Status, StatusError
from connectors._wire.transport import Call, CallEnded, Limits, Reason, Route, unary
from connectors._wire.transport.inbox import Inbox
from tests.wire.transport_peers import (
    BOUND_S,
    Served,
    serving,
    stream_stream,
    stream_unary,
    unary_stream,
    unary_unary,
    until,
)

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Probe:
    """Handlers whose progress a test can see and hold."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.go = asyncio.Event()
        self.call: Call | None = None

    async def echo(self, call: Call, request: bytes) -> bytes:
        self.call = call
        return request

    async def hold(self, call: Call, request: bytes) -> bytes:
        self.call = call
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def fail(self, call: Call, request: bytes) -> bytes:
        raise StatusError(Status.NOT_FOUND, "no such thing: 100 % ünknown\n")

    async def crash(self, call: Call, request: bytes) -> bytes:
        raise KeyError("a detail for the log alone")

    async def double(self, call: Call) -> None:
        while (message := await call.receive()) is not None:
            await call.send(message + message)

    async def total(self, call: Call) -> None:
        size = 0
        while (message := await call.receive()) is not None:
            size += len(message)
        await call.send(str(size).encode())

    async def count(self, call: Call) -> None:
        request = await call.receive()
        assert request is not None
        for number in range(int(request)):
            await call.send(b"%d" % number)

    async def count_then_fail(self, call: Call) -> None:
        await self.count(call)
        raise StatusError(Status.ABORTED, "half way")

    async def silent(self, call: Call) -> None:
        await call.receive()

    async def answer_twice(self, call: Call) -> None:
        await call.send(b"one")
        await call.send(b"two")

    async def cancelled_inside(self, call: Call, request: bytes) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future

    async def outlive(self, call: Call, request: bytes) -> bytes:
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            with pytest.raises(CallEnded):
                await call.send(b"too late")
            with pytest.raises(CallEnded):
                await call.receive()
            self.cancelled.set()
        return b"never seen"


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
async def served(probe: Probe) -> AsyncIterator[Served]:
    routes = {
        "/t.T/Echo": unary(probe.echo),
        "/t.T/Hold": unary(probe.hold),
        "/t.T/Fail": unary(probe.fail),
        "/t.T/Crash": unary(probe.crash),
        "/t.T/CancelledInside": unary(probe.cancelled_inside),
        "/t.T/Outlive": unary(probe.outlive),
        "/t.T/Silent": Route(probe.silent),
        "/t.T/AnswerTwice": Route(probe.answer_twice),
        "/t.T/Double": Route(probe.double, client_streaming=True, server_streaming=True),
        "/t.T/Total": Route(probe.total, client_streaming=True),
        "/t.T/Count": Route(probe.count, server_streaming=True),
        "/t.T/CountThenFail": Route(probe.count_then_fail, server_streaming=True),
    }
    async with serving(routes) as running:
        yield running


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(served.target, options=UNLIMITED) as opened:
        yield opened


async def failure(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asyncio.wait_for(call, BOUND_S)
    return raised.value


async def settle(served: Served) -> None:
    """Returns once no handler runs."""
    await until(lambda: served.in_flight == 0)


async def test_a_unary_call_is_answered(channel: grpc.aio.Channel) -> None:
    assert await unary_unary(channel, "/t.T/Echo")(b"hello") == b"hello"


async def test_an_empty_message_is_a_message(channel: grpc.aio.Channel) -> None:
    assert await unary_unary(channel, "/t.T/Echo")(b"") == b""


async def test_a_request_of_the_whole_limit_arrives(channel: grpc.aio.Channel) -> None:
    payload = bytes(range(256)) * (4 * MIB // 256)
    assert await unary_unary(channel, "/t.T/Echo")(payload) == payload


async def test_many_large_requests_at_once_on_one_connection_arrive(channel: grpc.aio.Channel) -> None:
    echo = unary_unary(channel, "/t.T/Echo")
    payloads = [bytes([number]) * (3 * MIB) for number in range(12)]
    assert await asyncio.gather(*(echo(payload) for payload in payloads)) == payloads


async def test_a_gzip_request_is_decompressed(served: Served) -> None:
    options = (*UNLIMITED, ("grpc.default_compression_algorithm", grpc.Compression.Gzip))
    async with grpc.aio.insecure_channel(served.target, options=options) as channel:
        assert await unary_unary(channel, "/t.T/Echo")(b"a" * MIB) == b"a" * MIB


async def test_a_message_over_the_limit_is_resource_exhausted_with_both_sizes(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.target, options=UNLIMITED) as channel:
        error = await failure(unary_unary(channel, "/t.T/Echo")(b"a" * (4 * MIB + 1)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "the message is 4194305 bytes, the limit is 4194304"
    assert served.rejected == [("/t.T/Echo", Status.RESOURCE_EXHAUSTED, Reason.MESSAGE_TOO_LARGE)]


async def test_a_message_over_the_limit_leaves_other_calls_of_its_connection_alone(
    channel: grpc.aio.Channel, probe: Probe
) -> None:
    other = asyncio.ensure_future(unary_unary(channel, "/t.T/Hold")(b"other"))
    await asyncio.wait_for(probe.started.wait(), BOUND_S)
    await failure(unary_unary(channel, "/t.T/Echo")(b"a" * (5 * MIB)))
    probe.go.set()
    assert await asyncio.wait_for(other, BOUND_S) == b"other"


async def test_an_unknown_method_is_unimplemented_and_named(channel: grpc.aio.Channel, served: Served) -> None:
    error = await failure(unary_unary(channel, "/t.T/Nothing")(b""))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "unknown method /t.T/Nothing")
    assert served.rejected == [("/t.T/Nothing", Status.UNIMPLEMENTED, Reason.UNKNOWN_METHOD)]


async def test_a_status_error_reaches_the_caller_letter_by_letter(channel: grpc.aio.Channel) -> None:
    error = await failure(unary_unary(channel, "/t.T/Fail")(b""))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing: 100 % ünknown\n")


async def test_any_other_error_is_internal_with_the_text_given_for_it(
    channel: grpc.aio.Channel, served: Served
) -> None:
    error = await failure(unary_unary(channel, "/t.T/Crash")(b""))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error 1")
    assert [(method, type(raised)) for method, raised in served.unhandled] == [("/t.T/Crash", KeyError)]


@pytest.mark.parametrize("method", ["/t.T/Silent", "/t.T/AnswerTwice", "/t.T/CancelledInside"])
async def test_a_handler_that_breaks_its_contract_is_internal(
    channel: grpc.aio.Channel, served: Served, method: str
) -> None:
    error = await failure(unary_unary(channel, method)(b""))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert [name for name, _ in served.unhandled] == [method]


async def test_metadata_and_the_peer_reach_the_handler(channel: grpc.aio.Channel, probe: Probe) -> None:
    metadata = (("x-one", "a"), ("x-one", "b"), ("x-raw-bin", b"\0\xff"))
    await unary_unary(channel, "/t.T/Echo")(b"", metadata=metadata)
    assert probe.call is not None
    assert probe.call.metadata["x-one"] == "a,b"
    assert probe.call.metadata["user-agent"].startswith("grpc-python")
    assert not [name for name in probe.call.metadata if name.startswith((":", "grpc-", "te", "content-type"))]
    assert "x-raw-bin" not in probe.call.metadata
    assert probe.call.peer.startswith("127.0.0.1:")
    assert probe.call.method == "/t.T/Echo"


async def test_the_callers_timeout_is_the_calls_deadline(channel: grpc.aio.Channel, probe: Probe) -> None:
    before = asyncio.get_running_loop().time()
    await unary_unary(channel, "/t.T/Echo")(b"", timeout=60)
    assert probe.call is not None
    assert probe.call.deadline is not None
    assert before + 50 < probe.call.deadline < asyncio.get_running_loop().time() + 61


async def test_without_a_timeout_there_is_no_deadline(channel: grpc.aio.Channel, probe: Probe) -> None:
    await unary_unary(channel, "/t.T/Echo")(b"")
    assert probe.call is not None
    assert probe.call.deadline is None


async def test_a_deadline_that_passes_cancels_the_handler(
    channel: grpc.aio.Channel, served: Served, probe: Probe
) -> None:
    error = await failure(unary_unary(channel, "/t.T/Hold")(b"", timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(probe.cancelled.wait(), BOUND_S)
    await settle(served)


async def test_a_cancelled_call_cancels_its_handler_and_no_other(
    channel: grpc.aio.Channel, served: Served, probe: Probe
) -> None:
    doomed = unary_unary(channel, "/t.T/Hold")(b"")
    await asyncio.wait_for(probe.started.wait(), BOUND_S)
    counting = stream_stream(channel, "/t.T/Double")()
    await counting.write(b"a")
    assert await counting.read() == b"aa"
    doomed.cancel()
    await asyncio.wait_for(probe.cancelled.wait(), BOUND_S)
    await counting.write(b"b")
    assert await counting.read() == b"bb"
    await counting.done_writing()
    assert await counting.code() is grpc.StatusCode.OK
    await settle(served)
    assert served.rejected == []


async def test_a_lost_connection_cancels_its_handlers(served: Served, probe: Probe) -> None:
    channel = grpc.aio.insecure_channel(served.target)
    doomed = unary_unary(channel, "/t.T/Hold")(b"")
    await asyncio.wait_for(probe.started.wait(), BOUND_S)
    await channel.close()
    await asyncio.wait_for(probe.cancelled.wait(), BOUND_S)
    await settle(served)
    assert doomed.cancelled()


async def test_a_handler_that_ignores_its_cancellation_can_send_nothing(
    channel: grpc.aio.Channel, served: Served, probe: Probe
) -> None:
    error = await failure(unary_unary(channel, "/t.T/Outlive")(b"", timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(probe.cancelled.wait(), BOUND_S)
    await settle(served)
    assert served.unhandled == []


async def test_a_client_stream_is_received_to_its_end(channel: grpc.aio.Channel) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * MIB

    assert await stream_unary(channel, "/t.T/Total")(parts()) == b"%d" % (20 * MIB)


async def test_a_client_stream_of_many_messages_is_not_stopped_by_the_window(channel: grpc.aio.Channel) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(1500):
            yield b"x" * 15_000

    assert await stream_unary(channel, "/t.T/Total")(parts()) == b"%d" % (1500 * 15_000)


async def test_a_server_stream_is_sent_to_its_end(channel: grpc.aio.Channel) -> None:
    numbers = [message async for message in unary_stream(channel, "/t.T/Count")(b"500")]
    assert numbers == [b"%d" % number for number in range(500)]


async def test_an_empty_server_stream_is_ok(channel: grpc.aio.Channel) -> None:
    assert [message async for message in unary_stream(channel, "/t.T/Count")(b"0")] == []


async def test_a_server_stream_that_fails_ends_with_its_status(channel: grpc.aio.Channel) -> None:
    call = unary_stream(channel, "/t.T/CountThenFail")(b"3")
    assert [await call.read() for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.ABORTED, "half way")


async def test_a_conversation_goes_both_ways_message_by_message(channel: grpc.aio.Channel) -> None:
    call = stream_stream(channel, "/t.T/Double")()
    for part in (b"a", b"", b"c" * MIB):
        await call.write(part)
        assert await call.read() == part + part
    await call.done_writing()
    assert await call.read() == grpc.aio.EOF


async def test_calls_leave_nothing_behind(channel: grpc.aio.Channel, served: Served, probe: Probe) -> None:
    def kept() -> int:
        gc.collect()
        return sum(isinstance(thing, Inbox | Call) for thing in gc.get_objects())

    echo, fail = unary_unary(channel, "/t.T/Echo"), unary_unary(channel, "/t.T/Fail")
    await echo(b"x")
    before = kept()
    for _ in range(20):
        await asyncio.gather(*(echo(b"x", timeout=60) for _ in range(10)))
        await asyncio.gather(*(fail(b"x", timeout=60) for _ in range(5)), return_exceptions=True)
    probe.call = None
    await settle(served)
    assert served.in_flight == 0
    assert not [task for task in asyncio.all_tasks() if "Call._run" in repr(task)]
    assert kept() <= before


async def test_more_calls_at_once_than_a_connection_takes_wait_their_turn(probe: Probe) -> None:
    async with (
        serving({"/t.T/Hold": unary(probe.hold)}, Limits(max_concurrent_streams=5)) as served,
        grpc.aio.insecure_channel(served.target) as channel,
    ):
        hold = unary_unary(channel, "/t.T/Hold")
        calls = [asyncio.ensure_future(hold(b"%d" % number)) for number in range(12)]
        await until(lambda: served.in_flight == 5)
        probe.go.set()
        assert await asyncio.gather(*calls) == [b"%d" % number for number in range(12)]


async def test_clients_that_dial_anew_for_each_call_are_served_and_forgotten(served: Served) -> None:
    for _ in range(30):
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(served.target, options=options) as channel:
            assert await unary_unary(channel, "/t.T/Echo")(b"x") == b"x"
    await until(lambda: served.connections == 0)
