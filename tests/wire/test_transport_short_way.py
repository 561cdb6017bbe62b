"""The short way of ordinary calls past h2 and hpack: it does what they would have done, and they know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import hpack
import pytest
from grpclib.config import Configuration
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection
from h2.events import DataReceived, Event, RequestReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from connectors._wire.status import Status
from connectors._wire.transport import Call, unary
from connectors._wire.transport.gate import Gate
from connectors._wire.transport.header_blocks import literal_block
from connectors._wire.transport.http2 import Http2
from connectors._wire.transport.intake import Intake
from connectors._wire.transport.lane import Line
from connectors._wire.transport.limits import FRAMES_AT_ONCE, H2_FRAMES
from connectors._wire.transport.request import Headers
from tests.wire.transport_peers import PREFACE, REQUEST, message, raw_client, serving

pytestmark = pytest.mark.anyio

WINDOW = 1000
MOST_STREAMS = 5
CONFIG = H2Configuration(
    client_side=False, header_encoding=None, validate_inbound_headers=False, normalize_inbound_headers=False
)
REQUEST_FIELDS = [(name.encode(), value.encode()) for name, value in REQUEST.items()]
ANSWER_FIELDS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILER_FIELDS = [(b"grpc-status", b"0")]


class Both:
    """One client's bytes, read by h2 alone and by way of the intake, and the answers of both."""

    def __init__(self) -> None:
        self.h2 = H2Connection(CONFIG)
        self.http2 = Http2(most_streams=MOST_STREAMS, stream_window=WINDOW)
        self.clients: list[H2Connection] = []
        for each in (self.h2, self.http2):
            each.local_settings = Settings(
                client=False,
                initial_values={
                    SettingCodes.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
                    SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                },
            )
            each.initiate_connection()
        self.intake = Intake(self.http2, Gate(), self)
        self.encoder = hpack.Encoder()
        self.short: list[tuple[object, ...]] = []
        """What came by the short way."""
        self.events: list[Event] = []
        self.send(PREFACE + SettingsFrame(0).serialize() + SettingsFrame(0, flags=["ACK"]).serialize())
        for each in (self.h2, self.http2):  # as after a connection's first call, which h2 takes
            each.state_machine.process_input(ConnectionInputs.RECV_HEADERS)

    def began(self, stream_id: int, headers: Headers) -> None:
        self.short.append(("began", stream_id, headers))

    def ended(self, stream_id: int, data: bytes) -> None:
        self.short.append(("ended", stream_id, data))
        self.http2.give_back(len(data))

    def came(self, data: bytes) -> bool:
        self.events += self._acknowledged(self.http2, self.http2.receive_data(data))
        return True

    def send(self, data: bytes) -> bool:
        """False where both take it for a violation."""
        violations = [self._violates(lambda: self._plain(data)), self._violates(lambda: self._take(data))]
        assert violations[0] == violations[1]
        return not violations[0]

    def call(self, stream_id: int, *, flags: Sequence[str] = ("END_HEADERS",), extra: Headers = ()) -> bytes:
        block = self.encoder.encode([*REQUEST_FIELDS, *extra])
        return HeadersFrame(stream_id, block, flags=flags).serialize()

    def answer(self, stream_id: int, data: bytes) -> bool:
        """False where it does not go the short way."""
        if not self.http2.answer(stream_id, literal_block(ANSWER_FIELDS), data, literal_block(TRAILER_FIELDS)):
            return False
        self.h2.send_headers(stream_id, ANSWER_FIELDS)
        self.h2.send_data(stream_id, message(data))
        self.h2.send_headers(stream_id, TRAILER_FIELDS, end_stream=True)
        return True

    def assert_alike(self) -> None:
        states = [
            {
                stream_id: (
                    stream.state_machine.state,
                    stream.outbound_flow_control_window,
                    # of a stream that the caller has ended, nothing more is taken
                    stream.inbound_flow_control_window if stream.state_machine.state.name == "OPEN" else None,
                )
                for stream_id, stream in each.streams.items()
                if not stream.closed
            }
            for each in (self.h2, self.http2)
        ]
        assert states[0] == states[1]
        for name in (
            "highest_inbound_stream_id",
            "inbound_flow_control_window",
            "outbound_flow_control_window",
            "max_outbound_frame_size",
        ):
            assert getattr(self.h2, name) == getattr(self.http2, name), name
        assert self.h2.state_machine.state is self.http2.state_machine.state
        for stream_id in range(1, self.h2.highest_inbound_stream_id + 1, 2):
            assert self.h2._stream_closed_by(stream_id) is self.http2._stream_closed_by(stream_id)

    def _plain(self, data: bytes) -> None:
        self._acknowledged(self.h2, self.h2.receive_data(data))

    def _take(self, data: bytes) -> None:
        while data:
            data = self.intake.take(data)

    @staticmethod
    def _violates(read: Callable[[], None]) -> bool:
        try:
            read()
        except ProtocolError:
            return True
        return False

    @staticmethod
    def _acknowledged(connection: H2Connection, events: list[Event]) -> list[Event]:
        for event in events:
            if isinstance(event, DataReceived) and event.flow_controlled_length:
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return events


def part(stream_id: int, data: bytes, *flags: str) -> bytes:
    return DataFrame(stream_id, data, flags=flags).serialize()


async def test_an_ordinary_call_goes_the_short_way_and_h2_knows_of_it() -> None:
    both = Both()
    assert both.send(both.call(1) + part(1, message(b"abc"), "END_STREAM"))
    assert both.short == [("began", 1, REQUEST_FIELDS), ("ended", 1, message(b"abc"))]
    both.assert_alike()
    assert both.answer(1, b"xyz")
    both.assert_alike()
    assert both.http2.streams == {}


@pytest.mark.parametrize("flag", ["END_STREAM", "PRIORITY", "PADDED"])
async def test_what_is_not_ordinary_is_left_to_h2(flag: str) -> None:
    both = Both()
    assert both.send(both.call(1, flags=["END_HEADERS", flag]))
    assert both.short == []
    assert any(isinstance(event, RequestReceived) for event in both.events)
    both.assert_alike()


async def test_a_request_in_two_frames_of_headers_is_left_to_h2() -> None:
    both = Both()
    block = both.encoder.encode(REQUEST_FIELDS)
    frames = HeadersFrame(1, block[:5]).serialize() + ContinuationFrame(1, block[5:], flags=["END_HEADERS"]).serialize()
    assert both.send(frames + part(1, b"abc", "END_STREAM"))
    assert [each[0] for each in both.short] == ["ended"]
    both.assert_alike()


async def test_nothing_comes_between_two_frames_of_headers() -> None:
    both = Both()
    assert both.send(both.call(1))
    assert not both.send(HeadersFrame(3, both.encoder.encode(REQUEST_FIELDS)).serialize() + part(1, b"", "END_STREAM"))
    assert [each[0] for each in both.short] == ["began"]


async def test_a_length_that_the_caller_announced_is_held_to() -> None:
    both = Both()
    assert both.send(both.call(1, extra=[(b"content-length", b"4")]) + part(1, b"abcd", "END_STREAM"))
    both.assert_alike()
    assert not both.send(both.call(3, extra=[(b"content-length", b"4")]) + part(3, b"abc", "END_STREAM"))


@pytest.mark.parametrize("window", ["stream", "connection"])
async def test_data_over_a_window_is_a_violation(window: str) -> None:
    both = Both()
    if window == "stream":
        assert not both.send(both.call(1) + part(1, b"x" * (WINDOW + 1), "END_STREAM"))
        return
    for each in (both.h2, both.http2):
        each._inbound_flow_control_window_manager.window_consumed(65_535 - 10)
    assert not both.send(both.call(1) + part(1, b"x" * 11, "END_STREAM"))


async def test_a_stream_more_than_there_may_be_is_a_violation() -> None:
    both = Both()
    for stream_id in range(1, 2 * MOST_STREAMS, 2):
        assert both.send(both.call(stream_id))
    assert not both.send(both.call(2 * MOST_STREAMS + 1))


async def test_an_answer_over_a_window_waits_for_h2() -> None:
    both = Both()
    both.send(SettingsFrame(0, settings={SettingCodes.INITIAL_WINDOW_SIZE: 10}).serialize())
    both.send(both.call(1) + part(1, message(b""), "END_STREAM"))
    assert not both.answer(1, b"x" * 6)
    assert both.answer(1, b"x" * 5)
    both.assert_alike()


async def test_an_answer_is_not_written_before_the_request_has_ended_or_after_its_end() -> None:
    both = Both()
    both.send(both.call(1))
    assert not both.answer(1, b"")
    both.send(part(1, message(b""), "END_STREAM"))
    assert both.answer(1, b"")
    assert not both.answer(1, b"")


async def test_an_answer_waits_for_h2_where_the_table_of_fields_was_resized() -> None:
    both = Both()
    both.send(SettingsFrame(0, settings={SettingCodes.HEADER_TABLE_SIZE: 100}).serialize())
    both.send(both.call(1) + part(1, message(b""), "END_STREAM"))
    assert not both.answer(1, b"")


async def test_a_table_of_fields_grows_no_larger_than_it_begins_whatever_a_caller_allows() -> None:
    both = Both()
    both.send(SettingsFrame(0, settings={SettingCodes.HEADER_TABLE_SIZE: 2**32 - 1}).serialize())
    assert both.http2.encoder.header_table_size == 4096


async def test_what_a_caller_reads_of_an_answer_is_what_h2_would_have_written() -> None:
    both, seen = Both(), []
    both.send(both.call(1) + part(1, message(b"abc"), "END_STREAM"))
    assert both.answer(1, b"xyz")
    for server in (both.h2, both.http2):
        client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        client.initiate_connection()
        client.send_headers(1, REQUEST_FIELDS, end_stream=True)
        seen.append([repr(event) for event in client.receive_data(server.data_to_send())])
    assert seen[0] == seen[1]
    assert sum("DataReceived" in event for event in seen[0]) == 1


STREAMS = st.integers(0, 6).map(lambda number: 2 * number + 1)
SENT = st.one_of(
    st.tuples(st.just("call"), STREAMS),
    st.tuples(st.just("call"), STREAMS),
    st.tuples(st.just("last"), STREAMS, st.integers(0, 400)),
    st.tuples(st.just("last"), STREAMS, st.integers(0, 400)),
    st.tuples(st.just("part"), STREAMS, st.integers(0, 400)),
    st.tuples(st.just("trailers"), STREAMS),
    st.tuples(st.just("reset"), STREAMS),
    st.tuples(st.just("window"), st.integers(0, 13), st.integers(1, 1000)),
    st.tuples(st.just("settings"), st.integers(0, 1000)),
    st.tuples(st.just("ping")),
    st.tuples(st.just("answer"), STREAMS, st.integers(0, 300)),
    st.tuples(st.just("answer"), STREAMS, st.integers(0, 300)),
)


@given(steps=st.lists(SENT, max_size=40))
async def test_whatever_a_client_does_h2_knows_what_it_would_have_known(steps: list[tuple[str, int, int]]) -> None:
    both = Both()
    for kind, *numbers in steps:
        match kind, *numbers:
            case "answer", int(stream_id), int(size):
                both.answer(stream_id, b"x" * size)
                goes_on = True
            case "call", int(stream_id):
                goes_on = both.send(both.call(stream_id))
            case "last", int(stream_id), int(size):
                goes_on = both.send(part(stream_id, b"x" * size, "END_STREAM"))
            case "part", int(stream_id), int(size):
                goes_on = both.send(part(stream_id, b"x" * size))
            case "trailers", int(stream_id):
                goes_on = both.send(both.call(stream_id, flags=["END_HEADERS", "END_STREAM"]))
            case "reset", int(stream_id):
                goes_on = both.send(RstStreamFrame(stream_id, error_code=8).serialize())
            case "window", int(stream_id), int(size):
                goes_on = both.send(WindowUpdateFrame(stream_id, window_increment=size).serialize())
            case "settings", int(size):
                changed: dict[int, int] = {SettingCodes.INITIAL_WINDOW_SIZE: size}
                goes_on = both.send(SettingsFrame(0, settings=changed).serialize())
            case _:
                goes_on = both.send(PingFrame(0, b"12345678").serialize())
        if not goes_on:
            return
        both.assert_alike()


@given(pieces=st.lists(st.integers(1, 60), min_size=1))
async def test_however_the_bytes_are_cut_the_same_comes_of_them(pieces: list[int]) -> None:
    whole, cut = Both(), Both()
    data = b"".join(
        whole.call(each) + PingFrame(0, b"12345678").serialize() + part(each, message(b"abc"), "END_STREAM")
        for each in (1, 3, 5)
    )
    assert whole.send(data)
    done = count = 0
    while done < len(data):
        size = pieces[count % len(pieces)]
        count += 1
        assert cut.send(data[done : done + size])
        done += size
    assert cut.short == whole.short
    cut.assert_alike()


async def test_so_many_ordinary_frames_are_handled_between_two_turns() -> None:
    both = Both()
    both.http2._most_streams = 2 * FRAMES_AT_ONCE
    calls = [both.call(2 * number + 1) for number in range(FRAMES_AT_ONCE + 3)]
    assert both.intake.take(b"".join(calls)) == b"".join(calls[-3:])
    assert len(both.short) == FRAMES_AT_ONCE


async def test_of_frames_for_h2_fewer_are_handled_between_two_turns() -> None:
    both, ping = Both(), PingFrame(0, b"12345678").serialize()
    at_once = FRAMES_AT_ONCE // H2_FRAMES
    assert both.intake.take(ping * (at_once + 3)) == ping * 3
    assert both.intake.take(ping * 3) == b""


async def test_a_frame_that_is_too_large_is_refused_by_its_header() -> None:
    with pytest.raises(ProtocolError):
        Both().intake.take(b"\0\x40\x01\0\0\0\0\0\1")


class Socket:
    """As much of an asyncio transport as a connection touches."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False


async def test_the_answers_of_a_turn_are_one_write() -> None:
    both, socket = Both(), Socket()
    line = Line(both.http2, socket, config=Configuration().__for_server__())  # type: ignore[arg-type]
    line.flush()
    for stream_id in (1, 3, 5):
        both.send(both.call(stream_id) + part(stream_id, message(b""), "END_STREAM"))
        assert both.answer(stream_id, b"x")
        line.flush_soon()
    assert len(socket.written) == 1
    await asyncio.sleep(0)
    assert len(socket.written) == 2
    assert socket.written[1].count(b"application/grpc") == 3


async def test_much_is_written_before_the_turn_ends() -> None:
    both, socket = Both(), Socket()
    line = Line(both.http2, socket, config=Configuration().__for_server__())  # type: ignore[arg-type]
    both.http2._data_to_send += b"x" * 70_000
    line.flush_soon()
    assert sum(map(len, socket.written)) >= 70_000


@pytest.mark.parametrize("end", ["the server closes", "the client says goodbye"])
async def test_an_answer_that_waits_for_the_end_of_the_turn_is_written_before_the_connection_ends(end: str) -> None:
    async def last(call: Call, request: bytes) -> bytes:
        def at_once() -> None:
            for session in list(served.server._sessions):
                if end == "the server closes":
                    session.close()
                else:
                    session.data_received(GoAwayFrame(0).serialize())

        asyncio.get_running_loop().call_soon(at_once)  # before the answer's own turn ends
        return request

    async with serving({REQUEST[":path"]: unary(last)}) as served, raw_client(served) as client:
        answer = await client.answer(client.request(message(b"abc")))
        assert answer.status is Status.OK
        assert answer.data == message(b"abc")
