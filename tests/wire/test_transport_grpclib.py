"""What the transport relies on in grpclib and h2, beyond what they promise. A new version that breaks one of these is
found here, by name, before it is found in a lost call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
from grpclib import protocol
from grpclib.config import Configuration
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import DataReceived, PingAckReceived, RequestReceived, StreamEnded, StreamReset, UnknownFrameReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import HeadersFrame, RstStreamFrame, SettingsFrame
from packaging.requirements import Requirement

from connectors._wire.transport.session import Session
from tests.wire.transport_peers import PREFACE

pytestmark = pytest.mark.anyio


def test_the_package_allows_only_the_series_of_grpclib_that_this_was_read_from() -> None:
    [wanted] = [
        requirement
        for requirement in map(Requirement, metadata.requires("connectors-service") or [])
        if requirement.name == "grpclib"
    ]
    assert metadata.version("grpclib") in wanted.specifier
    assert "0.4.8" not in wanted.specifier
    assert "0.5.0" not in wanted.specifier


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (protocol.H2Protocol.connection_made, ["self", "transport"]),
        (protocol.H2Protocol.data_received, ["self", "data"]),
        (protocol.H2Protocol.pause_writing, ["self"]),
        (protocol.H2Protocol.resume_writing, ["self"]),
        (protocol.H2Protocol.connection_lost, ["self", "exc"]),
        (protocol.EventsProcessor, ["handler", "connection"]),
        (protocol.EventsProcessor.process, ["self", "event"]),
        (protocol.EventsProcessor.process_ping_ack_received, ["self", "event"]),
        (protocol.EventsProcessor.close, ["self", "reason"]),
        (protocol.Connection, ["connection", "transport", "config"]),
        (protocol.Connection.feed, ["self", "data"]),
        (protocol.Connection.flush, ["self"]),
        (protocol.Connection.ack, ["self", "stream_id", "size"]),
        (protocol.Connection.initialize, ["self"]),
        (protocol.Connection.is_closing, ["self"]),
        (protocol.Connection.close, ["self"]),
        (protocol.AbstractHandler.accept, ["self", "stream", "headers", "release_stream"]),
        (protocol.AbstractHandler.cancel, ["self", "stream"]),
        (protocol.AbstractHandler.close, ["self"]),
        (protocol.Buffer.add, ["self", "data", "ack_size"]),
        (protocol.Buffer.eof, ["self"]),
        (protocol.Buffer.unacked_size, ["self"]),
        (Configuration.__for_server__, ["self"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_grpclib_takes_the_arguments_it_is_given(function: Callable[..., Any], parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_grpclib_calls_nothing_on_the_handler_or_the_protocol_that_we_do_not_define() -> None:
    assert protocol.AbstractHandler.__abstractmethods__ == {"accept", "cancel", "close"}
    public = {name for name in vars(protocol.H2Protocol) if not name.startswith("_")}
    assert public == {"connection_made", "data_received", "pause_writing", "resume_writing", "connection_lost"}
    assert public <= set(vars(Session))


class Recorder(protocol.AbstractHandler):
    def __init__(self) -> None:
        self.seen: list[object] = []
        self.stream: protocol.Stream | None = None
        self.release: Callable[[], None] | None = None

    def accept(self, stream: protocol.Stream, headers: object, release_stream: Callable[[], None]) -> None:
        self.seen.append(("accept", headers))
        self.stream, self.release = stream, release_stream
        stream.buffer = RecordingBuffer(self.seen)

    def cancel(self, stream: protocol.Stream) -> None:
        self.seen.append(("cancel", stream.id))

    def close(self) -> None:
        self.seen.append("close")


class RecordingBuffer(protocol.Buffer):
    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    def add(self, data: bytes, ack_size: int) -> None:
        self.seen.append(("add", data, ack_size))

    def eof(self) -> None:
        self.seen.append("eof")

    def unacked_size(self) -> int:
        self.seen.append("unacked_size")
        return 7


class RecordingTransport:
    """As much of an asyncio transport as grpclib's connection touches."""

    def __init__(self) -> None:
        self.closed = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport()


@pytest.fixture
def h2() -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=False, validate_inbound_headers=False))
    connection.initiate_connection()
    connection.receive_data(PREFACE + SettingsFrame(0).serialize())
    return connection


@pytest.fixture
async def connection(h2: H2Connection, transport: RecordingTransport) -> protocol.Connection:
    return protocol.Connection(h2, transport, config=Configuration().__for_server__())  # type: ignore[arg-type]


@pytest.fixture
def handler() -> Recorder:
    return Recorder()


@pytest.fixture
def processor(handler: Recorder, connection: protocol.Connection) -> protocol.EventsProcessor:
    return protocol.EventsProcessor(handler, connection)


def open_stream(h2: H2Connection, processor: protocol.EventsProcessor) -> None:
    block = b"\x83\x86\x84"  # POST, http, /
    for event in h2.receive_data(HeadersFrame(1, block, flags=["END_HEADERS"]).serialize()):
        processor.process(event)


async def test_a_request_reaches_the_handler_with_its_headers_as_bytes(
    h2: H2Connection, processor: protocol.EventsProcessor, handler: Recorder
) -> None:
    open_stream(h2, processor)
    assert handler.seen == [("accept", [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")])]


async def test_data_and_the_end_of_a_stream_reach_the_buffer_that_the_handler_put_there(
    h2: H2Connection, processor: protocol.EventsProcessor, handler: Recorder
) -> None:
    open_stream(h2, processor)
    processor.process(DataReceived(stream_id=1, data=b"abc", flow_controlled_length=5))
    processor.process(StreamEnded(stream_id=1))
    assert handler.seen[1:] == [("add", b"abc", 5), "eof"]


async def test_a_reset_and_a_close_reach_the_handler(
    h2: H2Connection, processor: protocol.EventsProcessor, handler: Recorder, transport: RecordingTransport
) -> None:
    open_stream(h2, processor)
    [event] = h2.receive_data(RstStreamFrame(1, error_code=8).serialize())
    assert isinstance(event, StreamReset)
    processor.process(event)
    processor.close()
    assert handler.seen[1:] == [("cancel", 1), "close"]
    assert transport.closed


async def test_a_handler_may_release_streams_while_the_connection_closes(
    h2: H2Connection, connection: protocol.Connection
) -> None:
    class Releasing(Recorder):
        def close(self) -> None:
            assert self.release is not None
            self.release()

    releasing = Releasing()
    processor = protocol.EventsProcessor(releasing, connection)
    open_stream(h2, processor)
    processor.close()
    assert processor.streams == {}


async def test_a_released_stream_is_forgotten_and_its_window_given_back(
    h2: H2Connection, processor: protocol.EventsProcessor, handler: Recorder
) -> None:
    open_stream(h2, processor)
    assert handler.release is not None
    handler.release()
    assert handler.seen[1:] == ["unacked_size"]
    assert processor.streams == {}
    processor.process(DataReceived(stream_id=1, data=b"abc", flow_controlled_length=3))
    assert handler.seen[2:] == []


async def test_a_stream_is_closable_until_both_ends_closed_it(
    h2: H2Connection, processor: protocol.EventsProcessor, handler: Recorder
) -> None:
    open_stream(h2, processor)
    assert handler.stream is not None
    assert handler.stream.closable
    h2.send_headers(1, [(":status", "200")], end_stream=True)
    assert handler.stream.closable
    h2.reset_stream(1)
    assert not handler.stream.closable


async def test_frames_of_no_known_type_raise_not_implemented(processor: protocol.EventsProcessor) -> None:
    with pytest.raises(NotImplementedError):
        processor.process(UnknownFrameReceived(frame=SettingsFrame(0)))


async def test_events_after_a_close_are_dropped(processor: protocol.EventsProcessor, handler: Recorder) -> None:
    processor.close()
    processor.process(PingAckReceived(ping_data=b"12345678"))
    assert handler.seen == ["close"]


async def test_a_paused_connection_is_not_write_ready(connection: protocol.Connection) -> None:
    assert connection.write_ready.is_set()
    connection.pause_writing()
    assert not connection.write_ready.is_set()
    connection.resume_writing()
    assert connection.write_ready.is_set()


def test_settings_set_before_the_start_are_advertised_and_leave_the_decoders_own_limit_alone() -> None:
    h2 = H2Connection(H2Configuration(client_side=False))
    h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_HEADER_LIST_SIZE: 1000})
    h2.decoder.max_header_list_size = 4000
    h2.initiate_connection()
    h2.receive_data(PREFACE + SettingsFrame(0).serialize() + SettingsFrame(0, flags=["ACK"]).serialize())
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.receive_data(h2.data_to_send())
    assert client.remote_settings.max_header_list_size == 1000
    assert h2.decoder.max_header_list_size == 4000


def test_h2_keeps_the_part_of_a_frame_that_has_arrived_in_its_incoming_buffer(h2: H2Connection) -> None:
    assert h2.receive_data(b"\xff\xff\xff\0\0\0\0\0\x01" + b"x" * 100) == []
    assert len(h2.incoming_buffer._data) == 109


def test_h2_answers_nothing_after_a_goaway_of_its_own(h2: H2Connection) -> None:
    # The reason why a graceful GOAWAY is written past it.
    events = h2.receive_data(HeadersFrame(1, b"\x83\x86\x84", flags=["END_HEADERS"]).serialize())
    assert isinstance(events[0], RequestReceived)
    h2.close_connection()
    assert h2.state_machine.state is ConnectionState.CLOSED
    with pytest.raises(ProtocolError):
        h2.send_headers(1, [(":status", "200")])
