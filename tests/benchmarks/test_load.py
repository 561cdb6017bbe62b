"""The load generator: what it sends, and what it takes for an answer."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.server import Server
from hpack import Decoder, Encoder

from benchmarks.generator import carry_out
from benchmarks.http2 import frame, header_blocks
from benchmarks.load import NUMBER, Body, Generator, LoadError, Plan, Result
from benchmarks.processes import cpu_seconds
from benchmarks.servers import floor

pytestmark = pytest.mark.anyio
PATH = "/the.Service/Method"
BODY = Body.of(b"job-" + NUMBER)


class Bytes(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class Service:
    """Answers with what ``method`` makes of the request."""

    def __init__(self, method: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._method = method
        self.requests: list[bytes] = []

    def __mapping__(self) -> dict[str, Handler]:
        return {PATH: Handler(self._handle, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def _handle(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.requests.append(request)
        await stream.send_message(await self._method(request))


async def at_once(request: bytes) -> bytes:
    return b"answer"


@asynccontextmanager
async def serving(method: Callable[[bytes], Awaitable[bytes]] = at_once) -> AsyncIterator[tuple[Service, str]]:
    service = Service(method)
    server = Server([service], codec=Bytes())
    listening = socket.create_server(("127.0.0.1", 0))
    await server.start(sock=listening)
    try:
        yield service, f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def plan(address: str, **more: Any) -> Plan:
    return Plan(address, PATH, BODY, **{"connections": 2, "outstanding": 4} | more)


# --- what it sends


async def test_every_call_has_a_body_of_its_own() -> None:
    async with serving() as (service, address):
        result = (await carry_out(plan(address, calls=50, first=7))).require()
    assert sorted(service.requests) == [b"job-%010d" % number for number in range(7, 57)]
    assert (result.calls, result.next) == (50, 57)


async def test_numbers_begin_again_where_they_are_to() -> None:
    async with serving() as (service, address):
        await carry_out(plan(address, calls=20, first=100, among=10))
    assert sorted(service.requests) == sorted(2 * [b"job-%010d" % number for number in range(100, 110)])


async def test_as_many_calls_are_outstanding_as_the_plan_says() -> None:
    now, most = 0, 0

    async def method(request: bytes) -> bytes:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return b"answer"

    async with serving(method) as (_, address):
        await carry_out(plan(address, calls=60, outstanding=12))
    assert most == 12


def test_header_blocks_say_the_same_in_every_lap_and_another_timeout_in_each_call() -> None:
    decoder, blocks = Decoder(), header_blocks(PATH, "127.0.0.1:1")
    told = [
        {str(name): str(value) for name, value in decoder.decode(blocks[n % len(blocks)])}
        for n in range(3 * len(blocks))
    ]
    assert {(each[":path"], each["te"], each["content-type"]) for each in told} == {
        (PATH, "trailers", "application/grpc")
    }
    timeouts = [each["grpc-timeout"] for each in told]
    assert all(one != other for one, other in pairwise(timeouts))


async def test_an_open_loop_keeps_its_pace_while_answers_are_late() -> None:
    async def method(request: bytes) -> bytes:
        await asyncio.sleep(0.3)
        return b"answer"

    began = time.perf_counter()
    async with serving(method) as (service, address):
        result = (await carry_out(plan(address, calls=20, rate=100.0, outstanding=0))).require()
    assert result.median >= 0.3
    # one after the other they would have taken 6 s
    assert time.perf_counter() - began < 3
    assert len(service.requests) == 20


async def test_the_time_of_a_paced_call_is_counted_from_when_it_was_due() -> None:
    """One that the server holds up holds up none of the others' clocks."""
    busy = True

    async def method(request: bytes) -> bytes:
        nonlocal busy
        if busy:
            busy = False
            time.sleep(0.4)  # noqa: ASYNC251 - the server does nothing else meanwhile
        return b"answer"

    async with serving(method) as (_, address):
        with Generator() as generator:  # in a process of its own: the pause shall not hold it up, too
            result = await asyncio.to_thread(
                generator.run, plan(address, connections=1, calls=10, rate=100.0, outstanding=0)
            )
    assert result.require().median > 0.2


# --- what it takes for an answer


async def test_a_status_that_is_not_ok_is_an_error_and_no_result() -> None:
    async def method(request: bytes) -> bytes:
        if request.endswith(b"3"):
            raise GRPCError(Status.NOT_FOUND, "no such job: é")
        return b"answer"

    async with serving(method) as (_, address):
        result = await carry_out(plan(address, calls=20))
    assert result.calls == 18
    assert result.errors == {"grpc-status 5: no such job: é": 2}
    with pytest.raises(LoadError, match="no such job"):
        result.require()


async def test_ok_without_a_message_is_an_error() -> None:
    trailers = Encoder().encode([(":status", "200"), ("grpc-status", "0")])
    async with raw_server(lambda stream: frame(0x1, 0x5, stream, trailers)) as address:
        result = await carry_out(plan(address, calls=2))
    assert (result.calls, result.errors) == (0, {"OK without a message": 2})


async def test_an_unknown_method_is_an_error() -> None:
    async with serving() as (_, address):
        result = await carry_out(Plan(address, "/the.Service/Other", BODY, calls=5, connections=1))
    assert result.calls == 0
    assert [status.partition(":")[0] for status in result.errors] == ["grpc-status 12"]


async def test_calls_that_a_lost_connection_leaves_are_errors() -> None:
    async with asyncio.timeout(20), raw_server(lambda stream: None) as address:
        result = await carry_out(plan(address, calls=100))
    assert result.calls == 0
    assert result.errors == {"the connection was lost: closed by the server": 4}


async def test_calls_that_a_goaway_leaves_are_errors() -> None:
    async with asyncio.timeout(20), raw_server(lambda stream: frame(0x7, 0, 0, struct.pack(">LL", 0, 11))) as address:
        result = await carry_out(plan(address, calls=100))
    assert result.calls == 0
    assert result.errors == {"GOAWAY 11 ": 4}


async def test_a_stream_that_is_reset_is_an_error() -> None:
    async with raw_server(lambda stream: frame(0x3, 0, stream, struct.pack(">L", 8))) as address:
        result = await carry_out(plan(address, calls=6))
    assert (result.calls, result.errors) == (0, {"RST_STREAM 8": 6})


async def test_an_answer_that_ends_without_trailers_is_an_error() -> None:
    def answer(stream: int) -> bytes:
        return frame(0x1, 0x4, stream, b"\x88") + frame(0x0, 0x1, stream, b"\0\0\0\0\1x")

    async with raw_server(answer) as address:
        result = await carry_out(plan(address, calls=2))
    assert (result.calls, result.errors) == (0, {"an answer with no trailers": 2})


async def test_a_server_that_cannot_be_reached_is_no_result() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with Generator() as generator, pytest.raises(LoadError, match="ConnectionRefused"):
        generator.run(plan(f"127.0.0.1:{port}", calls=1))


async def test_what_the_server_holds_back_is_told() -> None:
    """grpclib allows 100 calls on a connection."""

    async def method(request: bytes) -> bytes:
        await asyncio.sleep(0.2)
        return b"answer"

    async with serving(method) as (_, address):
        within = await carry_out(plan(address, calls=100, outstanding=100, connections=1))
        above = await carry_out(plan(address, calls=150, outstanding=150, connections=1))
    assert (within.require().held_back, above.require().held_back) == (0, 50)


# --- what it measures


def test_processor_time_of_a_process_is_what_the_process_itself_knows() -> None:
    before = time.process_time()
    seen = cpu_seconds([os.getpid()])
    assert before <= seen <= time.process_time()


async def test_what_a_server_uses_is_measured_and_what_others_use_is_not() -> None:
    with floor("grpclib", answers={PATH: b"answer"}) as used, floor("grpclib", answers={PATH: b"answer"}) as idle:
        mine = await carry_out(plan(used.address, calls=500, servers=(used.pid,)))
        other = await carry_out(plan(used.address, calls=500, servers=(idle.pid,)))
    assert mine.require().cpu_per_call > 20e-6
    assert other.require().cpu_per_call < 20e-6


async def test_held_calls_are_outstanding_while_the_others_are_measured() -> None:
    with floor("grpclib", answers={PATH: b"answer"}, pauses={"held": 3.0}) as server:
        result = await carry_out(
            plan(server.address, calls=50, held=Body.of(b"held" + NUMBER), held_calls=40, servers=(server.pid,))
        )
        early = await carry_out(
            plan(
                server.address, rate=5.0, calls=30, held=Body.of(b"held" + NUMBER), held_calls=2, servers=(server.pid,)
            )
        )
    assert (result.require().calls, result.held_answered, result.held_early) == (50, 40, 0)
    assert result.longest < 3
    assert early.require().held_early == 2


async def test_a_held_call_that_fails_is_no_answer_and_spoils_no_other() -> None:
    async def method(request: bytes) -> bytes:
        if request.startswith(b"held"):
            if request.endswith(b"3"):
                raise GRPCError(Status.UNAVAILABLE, "too many")
            await asyncio.sleep(3.0)
        return b"answer"

    async with serving(method) as (_, address):
        result = await asyncio.to_thread(held, address, held_calls=20, calls=50)
    assert (result.require().calls, result.held_answered, result.held_early) == (50, 18, 0)
    assert result.held_errors == {"grpc-status 14: too many": 2}


async def test_held_calls_that_are_never_answered_are_failures_once_the_patience_is_over() -> None:
    async def method(request: bytes) -> bytes:
        if request.startswith(b"held"):
            await asyncio.Event().wait()
        return b"answer"

    async with serving(method) as (_, address):
        result = await asyncio.to_thread(held, address, held_calls=5, calls=50, patience=1.0)
    assert (result.require().calls, result.held_answered) == (50, 0)
    assert result.held_errors == {"not answered within 1 s after the end": 5}


def held(address: str, **more: Any) -> Result:
    """What comes of a plan with held calls, for a server in this process."""
    with Generator() as generator:
        return generator.run(plan(address, held=Body.of(b"held" + NUMBER), servers=(os.getpid(),), **more))


# --- a server that answers as it should not


@asynccontextmanager
async def raw_server(answer: Callable[[int], bytes | None]) -> AsyncIterator[str]:
    """Answers the end of a client's stream with these frames; None closes the connection."""
    closed: list[Awaitable[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed.append(writer.wait_closed())
        writer.write(frame(0x4, 0, 0))
        try:
            await reader.readexactly(24)
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == 0x0 and head[4] & 0x1:
                    frames = answer(int.from_bytes(head[5:], "big"))
                    if frames is None:
                        break
                    writer.write(frames)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*closed, return_exceptions=True)
