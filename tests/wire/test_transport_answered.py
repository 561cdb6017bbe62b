"""Whether an answer left while its caller was there: what a lost answer is told by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import grpc.aio
import pytest

from connectors._wire.status import Status, StatusError
from connectors._wire.transport import Call, CallEnded, Route, unary
from tests.wire.transport_peers import BOUND_S, Served, message, raw_client, serving, unary_stream, unary_unary, until

pytestmark = pytest.mark.anyio

WINDOW = {4: 16}  # SETTINGS_INITIAL_WINDOW_SIZE, RFC 9113 §6.5.2


class Witness:
    """Handlers that hear what became of their answer."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.call: Call | None = None
        self.cut: Callable[[], None] = lambda: None

    async def answer(self, call: Call, request: bytes) -> bytes:
        call.on_answered(self.told.append)
        self.call = call
        self.started.set()
        await self.go.wait()
        return request

    async def fail(self, call: Call, request: bytes) -> bytes:
        call.on_answered(self.told.append)
        raise StatusError(Status.ABORTED, "no")

    async def block(self, call: Call, request: bytes) -> bytes:
        call.on_answered(self.told.append)
        time.sleep(0.4)  # noqa: ASYNC251 - the timer of the deadline cannot run before the answer is there
        return request

    async def stubborn(self, call: Call, request: bytes) -> bytes:
        call.on_answered(self.told.append)
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            with pytest.raises(CallEnded):
                await call.send(b"")
        return b"nobody is there"

    async def cut_off(self, call: Call, request: bytes) -> bytes:
        call.on_answered(self.told.append)
        self.cut()
        return request

    async def stream(self, call: Call) -> None:
        call.on_answered(self.told.append)
        await call.send(await call.receive() or b"")


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
async def served(witness: Witness) -> AsyncIterator[Served]:
    routes = {
        "/t.T/Answer": unary(witness.answer),
        "/t.T/Fail": unary(witness.fail),
        "/t.T/Block": unary(witness.block),
        "/t.T/Stubborn": unary(witness.stubborn),
        "/t.T/CutOff": unary(witness.cut_off),
        "/t.T/Stream": Route(witness.stream, server_streaming=True),
    }
    async with serving(routes) as running:
        yield running


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(served.target) as opened:
        yield opened


async def verdict(witness: Witness) -> bool:
    await until(lambda: bool(witness.told))
    (told,) = witness.told
    return told


async def test_an_answer_that_its_caller_took_has_left(channel: grpc.aio.Channel, witness: Witness) -> None:
    witness.go.set()
    await unary_unary(channel, "/t.T/Answer")(b"x", timeout=BOUND_S)
    assert await verdict(witness) is True


async def test_a_stream_that_ended_has_left(channel: grpc.aio.Channel, witness: Witness) -> None:
    assert [part async for part in unary_stream(channel, "/t.T/Stream")(b"x")] == [b"x"]
    assert await verdict(witness) is True


async def test_nothing_is_told_before_the_answer_is_written(channel: grpc.aio.Channel, witness: Witness) -> None:
    call = unary_unary(channel, "/t.T/Answer")(b"x")
    pending = asyncio.ensure_future(call)
    await witness.started.wait()
    assert witness.told == []
    witness.go.set()
    await pending


async def test_a_caller_that_gave_up_had_no_answer(channel: grpc.aio.Channel, witness: Witness) -> None:
    call = unary_unary(channel, "/t.T/Answer")(b"x")
    pending = asyncio.ensure_future(call)
    await witness.started.wait()
    call.cancel()
    assert await verdict(witness) is False
    pending.cancel()


async def test_a_handler_that_returns_after_its_caller_left_gave_no_answer(
    channel: grpc.aio.Channel, witness: Witness
) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await unary_unary(channel, "/t.T/Stubborn")(b"x", timeout=0.2)
    assert await verdict(witness) is False


async def test_a_deadline_that_passed_gave_no_answer(channel: grpc.aio.Channel, witness: Witness) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await unary_unary(channel, "/t.T/Answer")(b"x", timeout=0.2)
    assert await verdict(witness) is False


async def test_an_answer_written_after_the_deadline_reached_nobody(channel: grpc.aio.Channel, witness: Witness) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await unary_unary(channel, "/t.T/Block")(b"x", timeout=0.2)
    assert await verdict(witness) is False


async def test_a_failure_in_its_place_is_no_answer(channel: grpc.aio.Channel, witness: Witness) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await unary_unary(channel, "/t.T/Fail")(b"x")
    assert await verdict(witness) is False


async def test_a_connection_that_is_lost_takes_its_answers_along(served: Served, witness: Witness) -> None:
    async with raw_client(served) as client:
        client.request(message(b"x"), path="/t.T/Answer")
        await client.round_trip()
        await witness.started.wait()
    assert await verdict(witness) is False


async def test_an_answer_to_a_connection_that_closes_reaches_nobody(
    channel: grpc.aio.Channel, served: Served, witness: Witness
) -> None:
    witness.cut = served.cut_connections
    with pytest.raises(grpc.aio.AioRpcError):
        await unary_unary(channel, "/t.T/CutOff")(b"x", timeout=BOUND_S)
    assert await verdict(witness) is False


async def test_an_answer_of_which_only_a_part_left_reached_nobody(served: Served, witness: Witness) -> None:
    witness.go.set()
    async with raw_client(served, WINDOW) as client:
        stream = client.request(message(b"x" * 100), path="/t.T/Answer")
        await client.round_trip()
        assert witness.told == []
        client.reset(stream)
        assert await verdict(witness) is False


async def test_who_asks_when_the_call_is_over_is_told_as_well(channel: grpc.aio.Channel, witness: Witness) -> None:
    witness.go.set()
    await unary_unary(channel, "/t.T/Answer")(b"x", timeout=BOUND_S)
    assert await verdict(witness) is True
    assert witness.call is not None
    late: list[bool] = []
    witness.call.on_answered(late.append)
    await until(lambda: bool(late))
    assert late == [True]
