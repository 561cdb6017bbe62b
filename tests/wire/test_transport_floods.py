"""Clients that send what costs them nothing, and clients that take nothing: how much of either a connection may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from connectors._wire.status import Status
from connectors._wire.transport import Call, Limits, Reason, Route, unary
from connectors._wire.transport.gate import Allowance
from connectors._wire.transport.limits import FLOOD_BURST, MAX_SETTINGS, RESET_BURST
from tests.wire.transport_peers import PREFACE, RawClient, Served, message, raw_client, serving, until

pytestmark = pytest.mark.anyio

ECHO, HOLD, STREAM = "/t.T/Echo", "/t.T/Hold", "/t.T/Stream"
ENHANCE_YOUR_CALM, INITIAL_WINDOW_SIZE = 11, 4
FLOODED = [("", Status.RESOURCE_EXHAUSTED, Reason.FLOOD)]
FLOOD = 2 * int(FLOOD_BURST) + 1000


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


async def echo(call: Call, request: bytes) -> bytes:
    return request


async def hold(call: Call, request: bytes) -> bytes:
    await asyncio.Event().wait()
    return request


async def stream(call: Call) -> None:
    while (request := await call.receive()) is not None:
        await call.send(request)


ROUTES = {
    ECHO: unary(echo),
    HOLD: unary(hold),
    STREAM: Route(stream, client_streaming=True, server_streaming=True, endless=True),
}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(ROUTES) as running:
        yield running


async def works(client: RawClient) -> None:
    answer = await client.answer(client.request(message(b"hello"), path=ECHO))
    assert (answer.status, answer.data) == (Status.OK, message(b"hello"))


def of_no_known_kind(stream_id: int) -> bytes:
    return b"\0\0\0\xfa\0" + stream_id.to_bytes(4, "big")


KINDS: dict[str, Callable[[int], bytes]] = {
    "PING": lambda _: PingFrame(0, b"12345678").serialize(),
    "PING ACK": lambda _: PingFrame(0, b"12345678", flags=["ACK"]).serialize(),
    "SETTINGS": lambda _: SettingsFrame(0).serialize(),
    "SETTINGS with a value": lambda _: SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 70_000}).serialize(),
    "PRIORITY": lambda open_: PriorityFrame(open_, depends_on=0).serialize(),
    "WINDOW_UPDATE": lambda open_: WindowUpdateFrame(open_, window_increment=1).serialize(),
    "WINDOW_UPDATE of the connection": lambda _: WindowUpdateFrame(0, window_increment=1).serialize(),
    "empty DATA": lambda open_: DataFrame(open_, b"").serialize(),
    "DATA of one byte": lambda open_: DataFrame(open_, b"\0").serialize(),
    "no known kind": of_no_known_kind,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_of_one_kind_ends_its_connection_and_no_other(served: Served, kind: str) -> None:
    async with raw_client(served) as other, raw_client(served) as client:
        open_ = client.request(message(b"x" * 100_000)[:100], path=STREAM, end=False)
        await client.round_trip()
        client.write_bytes(KINDS[kind](open_) * FLOOD)
        assert (await client.read_until_goaway()).error_code == ENHANCE_YOUR_CALM
        await client.read_until_closed()
        await works(other)
        await until(lambda: served.in_flight == 0)
    assert served.rejected == FLOODED


async def test_a_flood_of_headers_that_go_on_ends_its_connection(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        client.write(HeadersFrame(1, b""), *(ContinuationFrame(1, b"") for _ in range(FLOOD)))
        assert (await client.read_until_goaway()).error_code != 0
        await client.read_until_closed()
    (_, _, reason), *others = served.rejected
    assert (reason, others) == (Reason.PROTOCOL_ERROR, [])


async def test_a_block_of_headers_without_measure_ends_its_connection_before_it_is_read(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        client.write(HeadersFrame(1, b"\0" * 16_384), *(ContinuationFrame(1, b"\0" * 16_384) for _ in range(3)))
        client.write(ContinuationFrame(1, b"\0"))
        assert (await client.read_until_goaway()).error_code == ENHANCE_YOUR_CALM
        await client.read_until_closed()


# What opens or ends a stream costs its client nothing while the stream is there.
LATE: dict[str, Callable[[int], Frame]] = {
    "RST_STREAM": lambda stream_id: RstStreamFrame(stream_id, error_code=8),
    "DATA that ends": lambda stream_id: DataFrame(stream_id, b"", flags=["END_STREAM"]),
    "HEADERS": lambda stream_id: HeadersFrame(stream_id, b"", flags=["END_HEADERS"]),
}


@pytest.mark.parametrize("kind", LATE)
async def test_a_flood_of_frames_of_a_stream_that_is_over_ends_its_connection(served: Served, kind: str) -> None:
    async with raw_client(served) as client:
        over = client.request(message(b"x"), path="/t.T/Unknown", end=False)
        assert (await client.answer(over)).status is Status.UNIMPLEMENTED  # and reset: not all of it had come
        client.write_bytes(LATE[kind](over).serialize() * FLOOD)
        assert (await client.read_until_goaway()).error_code == ENHANCE_YOUR_CALM
        await client.read_until_closed()


# By the client, or by the server that it makes do so (CVE-2025-8671).
RESETS: dict[str, Callable[[int], Frame]] = {
    "RST_STREAM": lambda stream_id: RstStreamFrame(stream_id, error_code=8),
    "a window that overflows": lambda stream_id: WindowUpdateFrame(stream_id, window_increment=2**31 - 1),
    "DATA after the end": lambda stream_id: DataFrame(stream_id, b"x"),
}


@pytest.mark.parametrize("how", RESETS)
async def test_streams_that_are_reset_as_soon_as_they_are_opened_end_the_connection(served: Served, how: str) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        for _ in range(2 * int(RESET_BURST) + 200):
            stream_id = client.request(message(b"x"), path=HOLD)
            client.write(RESETS[how](stream_id))
        assert (await client.read_until_goaway()).error_code == ENHANCE_YOUR_CALM
        await client.read_until_closed()
        await until(lambda: served.in_flight == 0)
    assert served.rejected == [("", Status.RESOURCE_EXHAUSTED, Reason.RAPID_RESET)]


async def test_a_client_may_reset_all_streams_that_it_may_have_open(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        for stream_id in [client.request(message(b"x"), path=HOLD) for _ in range(1000)]:
            client.reset(stream_id)
        await client.round_trip()
        await works(client)


async def test_answers_make_up_for_resets(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        for _ in range(30):
            answered = [client.request(message(b"x"), path=ECHO) for _ in range(50)]
            for _ in range(50):
                client.reset(client.request(message(b"x"), path=HOLD))
            for stream_id in answered:
                await client.answer(stream_id)
        await works(client)
    assert served.rejected == []


async def test_a_client_that_works_may_send_more_beside_its_calls_than_one_that_does_not(served: Served) -> None:
    async with raw_client(served) as client:
        beside = (PingFrame(0, b"12345678").serialize() + WindowUpdateFrame(0, 1).serialize()) * 6
        for _ in range(800):
            client.write_bytes(beside)
            await works(client)
    assert served.rejected == []


async def test_more_settings_than_anybody_has_end_the_connection(served: Served) -> None:
    async with raw_client(served) as client:
        client.write(SettingsFrame(0, settings={0x20 + each: 1 for each in range(MAX_SETTINGS + 1)}))
        assert (await client.read_until_goaway()).error_code == ENHANCE_YOUR_CALM
    async with raw_client(served) as client:
        for each in range(MAX_SETTINGS):
            client.write(SettingsFrame(0, settings={0x20 + each: 1}))
        assert (await client.read_until_goaway()).error_code == ENHANCE_YOUR_CALM
    assert served.rejected == FLOODED * 2


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE, PREFACE + b"\0\0\6\4"])
async def test_a_client_that_does_not_begin_is_turned_away_when_its_time_is_over(said: bytes) -> None:
    async with serving(ROUTES, Limits(handshake_timeout=0.1)) as served, raw_client(served) as other:
        reader, writer = await asyncio.open_connection(served.host, served.port)
        client = RawClient(reader, writer)
        client.confirms = False
        client.write_bytes(said)
        await client.read_until_closed()
        writer.close()
        await works(other)
    assert served.rejected == [("", Status.UNAVAILABLE, Reason.SLOW_HANDSHAKE)]


HASTY = Limits(send_timeout=0.1, max_buffered_bytes_per_connection=20_000, max_message_bytes=10_000)


@pytest.mark.parametrize("path", [ECHO, STREAM])
async def test_an_answer_that_nobody_reads_ends_its_call_when_its_time_is_over(path: str) -> None:
    async with serving(ROUTES, HASTY) as served, raw_client(served, {INITIAL_WINDOW_SIZE: 10}) as client:
        answer = await client.answer(client.request(message(b"x" * 100), path=path))
        assert answer.status is Status.DEADLINE_EXCEEDED
        assert answer.message == "the answer was not read within 0.1 s"
        assert served.rejected == [(path, Status.DEADLINE_EXCEEDED, Reason.SLOW_READER)]
        await until(lambda: served.in_flight == 0)
        assert served.server._service.buffers.held == 0


@pytest.mark.parametrize("window", [1, 3, 5, 10])
async def test_an_answer_that_is_read_in_time_is_whole(served: Served, window: int) -> None:
    asked = message(bytes(range(100)))
    async with raw_client(served, {INITIAL_WINDOW_SIZE: window}) as client:
        slow = client.request(asked, path=ECHO)
        for _ in range(len(asked) // window):
            await client.round_trip()
            client.grant(slow, window)
        answer = await client.answer(slow)
        assert (answer.status, answer.data) == (Status.OK, asked)
        assert served.server._service.buffers.held == 0


async def test_of_the_answers_that_nobody_reads_only_so_many_are_held() -> None:
    patient = Limits(max_buffered_bytes_per_connection=20_000, max_message_bytes=9000)
    async with serving(ROUTES, patient) as served, raw_client(served, {INITIAL_WINDOW_SIZE: 10}) as client:
        unread = [client.request(message(b"x" * 8000), path=ECHO) for _ in range(2)]
        await client.round_trip()
        answer = await client.answer(client.request(message(b"x" * 8000), path=ECHO))
        assert answer.status is Status.RESOURCE_EXHAUSTED
        for stream_id in unread:
            client.grant(stream_id, 10_000)
            assert (await client.answer(stream_id)).status is Status.OK
        assert served.server._service.buffers.held == 0


async def test_an_answer_for_which_there_is_no_room_ends_its_handler_too() -> None:
    cramped = Limits(max_buffered_bytes_per_connection=6000, max_message_bytes=3000)
    async with serving(ROUTES, cramped) as served, raw_client(served, {INITIAL_WINDOW_SIZE: 10}) as client:
        answers = [client.request(message(b"x" * 2500), path=ECHO) for _ in range(3)]
        assert (await client.answer(answers[-1])).status is Status.RESOURCE_EXHAUSTED
        await until(lambda: served.in_flight == 2)


async def flood(call: Call) -> None:
    while True:
        await call.send(b"x" * 65_536)


async def test_an_answer_for_which_there_is_no_room_ends_its_handler_too_where_the_socket_is_full() -> None:
    cramped = Limits(max_buffered_bytes_per_connection=6000, max_message_bytes=3000)
    routes = {"/t.T/Flood": Route(flood, server_streaming=True)}
    async with serving(routes, cramped) as served, raw_client(served, {INITIAL_WINDOW_SIZE: 2**31 - 1}) as client:
        client.grant(0, 2**30)
        client.request(message(b""), path="/t.T/Flood")
        client.pause_reading()
        await until(lambda: served.rejected == [("/t.T/Flood", Status.RESOURCE_EXHAUSTED, Reason.BUFFERS_FULL)])
        await until(lambda: served.in_flight == 0)


async def test_a_client_that_takes_nothing_from_its_socket_is_cut_off_when_its_time_is_over() -> None:
    routes = {"/t.T/Flood": Route(flood, server_streaming=True)}
    limits = Limits(send_timeout=0.3)
    async with serving(routes, limits) as served, raw_client(served, {INITIAL_WINDOW_SIZE: 2**31 - 1}) as client:
        client.grant(0, 2**30)
        client.request(message(b""), path="/t.T/Flood")
        client.pause_reading()
        await until(lambda: served.in_flight == 1)
        await until(lambda: served.connections == 0 and served.in_flight == 0)
        assert {reason for _, _, reason in served.rejected} == {Reason.SLOW_READER}


async def test_an_allowance_fills_again_with_time_but_never_over_what_it_held_at_first() -> None:
    allowance = Allowance(2, 1.0)
    assert allowance.spend(2)
    assert not allowance.spend(2)
    await until(lambda: allowance.spend(2))
    assert not Allowance(2, 1e9).spend(3)


async def test_a_request_that_never_comes_ends_at_its_deadline_and_for_that_reason(served: Served) -> None:
    async with raw_client(served) as client:
        # Of fractions of a millisecond: uvloop's timers have none.
        cut_off = [
            client.request(headers={"grpc-timeout": f"{200_000 + 37 * n}u"}, path=ECHO, end=False) for n in range(99)
        ]
        assert {(await client.answer(each)).status for each in cut_off} == {Status.DEADLINE_EXCEEDED}
    assert {reason for _, _, reason in served.rejected} == {Reason.DEADLINE}
