"""h2's connection, with a short way for the frames of an ordinary unary call.

h2 makes frames, events and the inputs of two state machines, for every state that HTTP/2 has; a call of the whole
transport took six times as long with them. An ordinary call goes through three states, and each of the three methods
below takes one such step on h2's own streams and windows. They say no wherever anything else is the case; h2 then does
the step, and judges it. So h2 knows every stream at every time, and tests compare what it knows with what it would have
known without this.
"""

from __future__ import annotations

import struct

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.stream import H2Stream, StreamClosedBy, StreamState
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hyperframe.frame import WindowUpdateFrame

from connectors._wire.transport.framing import PREFIX_BYTES
from connectors._wire.transport.header_blocks import AnswerEncoder, RequestDecoder
from connectors._wire.transport.limits import CLOSED_STREAMS
from connectors._wire.transport.request import Headers

_SERVER_OPEN, _OPEN, _HALF_CLOSED = ConnectionState.SERVER_OPEN, StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE
_DATA, _HEADERS = 0x0, 0x1
_END_STREAM, _END_HEADERS = 0x1, 0x4
_JUDGED = {b"content-length", b":status"}
"""Fields of which h2 makes something, in requests."""
# Requests are checked where a fault fails one call; h2's own checks would end the connection and every call on it.
# Headers stay bytes: a value that is not ASCII must not break the decoding of the others.
_CONFIG = H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)


class Http2(H2Connection):
    """One connection, a server's."""

    MAX_CLOSED_STREAMS = CLOSED_STREAMS  # h2 remembers 65,536, which is 8 MB for each connection
    decoder: RequestDecoder

    def __init__(self, *, most_streams: int, stream_window: int) -> None:
        """:param stream_window: bytes that a caller may send on a new stream."""
        super().__init__(_CONFIG)
        self.decoder = RequestDecoder()
        self.encoder = AnswerEncoder()
        self._most_streams = most_streams
        self._stream_window = stream_window

    @property
    def unsent(self) -> int:
        """Bytes that wait to be written."""
        return len(self._data_to_send)

    def begins(self, stream_id: int) -> bool:
        """Whether HEADERS on this stream are those of a new request, with nothing amiss."""
        return (
            stream_id > self.highest_inbound_stream_id
            and stream_id & 1 == 1
            and len(self.streams) < self._most_streams
            and self.state_machine.state is _SERVER_OPEN
        )

    def begin(self, stream_id: int, block: bytes) -> Headers:
        """Opens a stream that :meth:`begins`. :raises ProtocolError: what ``block`` says is malformed."""
        try:
            headers = self.decoder.fields(block)
        except OversizedHeaderListError as error:
            raise DenialOfServiceError(str(error)) from error
        except (HPACKError, IndexError) as error:
            raise ProtocolError(f"the header block cannot be decoded: {error}") from error
        settings = self.remote_settings
        stream = H2Stream(stream_id, self.config, self._stream_window, settings.initial_window_size)
        stream.max_outbound_frame_size = self.max_outbound_frame_size
        self.streams[stream_id] = stream
        self.highest_inbound_stream_id = stream_id
        if _JUDGED.isdisjoint(dict(headers)):
            machine = stream.state_machine
            machine.client, machine.headers_received, machine.state = False, True, _OPEN
        else:
            stream.receive_headers(headers, False, None)
        return headers

    def end_request(self, stream_id: int, size: int) -> bool:
        """Takes note of DATA of ``size`` bytes, if it ends a request and nothing is amiss.

        :raises ProtocolError: the caller's windows do not hold it.
        """
        stream = self.streams.get(stream_id)
        if (
            stream is None
            or stream.state_machine.state is not _OPEN
            or stream._expected_content_length is not None
            or self.state_machine.state is not _SERVER_OPEN
        ):
            return False
        self._inbound_flow_control_window_manager.window_consumed(size)
        stream._inbound_window_manager.window_consumed(size)
        stream.state_machine.state = _HALF_CLOSED
        return True

    def is_over(self, stream_id: int) -> bool:
        """Whether there was such a stream, and is no more."""
        return stream_id <= self.highest_inbound_stream_id and stream_id not in self.streams

    def give_back(self, size: int) -> None:
        """Gives the window back that DATA took of the connection's; the stream's own is of no more use."""
        increment = self._inbound_flow_control_window_manager.process_bytes(size)
        if increment:
            frame = WindowUpdateFrame(0)
            frame.window_increment = increment
            self._data_to_send += frame.serialize()

    def answer(self, stream_id: int, headers: bytes, message: bytes, trailers: bytes) -> bool:
        """Writes a whole answer, if the windows take it and nothing of one was written before.

        :param headers: a block that adds nothing to the caller's table; so are ``trailers``.
        """
        stream = self.streams.get(stream_id)
        size = PREFIX_BYTES + len(message)
        if (
            stream is None
            or stream.state_machine.state is not _HALF_CLOSED
            or stream.state_machine.headers_sent
            or self.state_machine.state is not _SERVER_OPEN
            or size > self.outbound_flow_control_window
            or size > stream.outbound_flow_control_window
            or size > self.max_outbound_frame_size
            or self.encoder.header_table.resized  # which the next block has to begin with
        ):
            return False
        self.outbound_flow_control_window -= size
        self._data_to_send += b"".join(
            (
                _HEAD(len(headers) >> 8, len(headers) & 0xFF, _HEADERS, _END_HEADERS, stream_id),
                headers,
                _HEAD_AND_PREFIX(size >> 8, size & 0xFF, _DATA, 0, stream_id, 0, len(message)),
                message,
                _HEAD(0, len(trailers), _HEADERS, _END_HEADERS | _END_STREAM, stream_id),
                trailers,
            )
        )
        stream.state_machine.state = StreamState.CLOSED
        stream.state_machine.stream_closed_by = StreamClosedBy.SEND_END_STREAM
        self.forget(stream_id)
        return True

    def forget(self, stream_id: int) -> None:
        """Has a stream that is over counted no more. h2 does so by looking at all there are, with each new one."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self._closed_streams[stream_id] = stream.closed_by

    @property
    def open_inbound_streams(self) -> int:
        """How many streams are open, or that there is room for one more: h2 asks for nothing else."""
        return len(self.streams) if len(self.streams) < self._most_streams else super().open_inbound_streams


_HEAD = struct.Struct(">HBBBL").pack
_HEAD_AND_PREFIX = struct.Struct(">HBBBLBL").pack
