"""The answering half of one stream: headers, messages and trailers, in as few socket writes as they fit."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from grpclib.protocol import Stream
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from connectors._wire.status import Status
from connectors._wire.transport.framing import frame

MAX_STATUS_MESSAGE_BYTES = 4096

_OPENING = [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity,gzip")]
_HEADERS = [(b":status", b"200"), *_OPENING]
_OK_TRAILERS = [(b"grpc-status", b"0")]
# Printable ASCII but the percent sign stands for itself (gRPC over HTTP/2, Status-Message).
_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def encode_status_message(message: str) -> bytes:
    """``message`` percent-encoded for `grpc-message`, cut to 4,096 bytes between two characters."""
    encoded = quote(message, safe=_UNQUOTED, errors="replace")
    while len(encoded) > MAX_STATUS_MESSAGE_BYTES:
        message = message[: len(message) * MAX_STATUS_MESSAGE_BYTES // len(encoded)]
        encoded = quote(message, safe=_UNQUOTED, errors="replace")
    return encoded.encode("ascii")


class Outbound:
    """Writes one answer. Nothing is written once the stream or its connection is gone."""

    __slots__ = ("_h2", "_id", "_opened", "_stream", "written")

    def __init__(self, stream: Stream, h2: H2Connection) -> None:
        self._stream = stream
        self._id = cast(int, stream.id)  # a stream that a caller opened has one
        self._h2 = h2
        self._opened = False
        self.written = False
        """Whether an answer went out whole, its trailers included, on a stream and a connection that were open."""

    async def send(self, message: bytes) -> None:
        """Writes one message of a stream of them, as fast as the caller reads."""
        await self._writable()
        self._open()
        await self._data(frame(message))
        self._flush()

    async def send_only(self, message: bytes) -> None:
        """Writes a whole unary answer: one socket write if the caller's window takes it."""
        await self._writable()
        self._open()
        await self._data(frame(message))
        self.end()

    def end(self) -> None:
        """Writes the trailers of an answer that is OK."""
        self._finish(_OK_TRAILERS if self._opened else [*_HEADERS, *_OK_TRAILERS])

    def fail(self, status: Status, message: str, http_status: int = 200) -> None:
        """Writes any other status, at once: trailers are under no flow control."""
        trailers = [
            (b"grpc-status", b"%d" % status),
            (b"grpc-message", encode_status_message(message)),
        ]
        if not self._opened:
            trailers = [(b":status", b"%d" % http_status), *_OPENING, *trailers]
        self._finish(trailers)

    def refuse_stream(self) -> None:
        """Rejects a stream that this connection no longer takes; the caller may safely send it elsewhere."""
        if self._stream.closable:
            self._h2.reset_stream(self._id, error_code=ErrorCodes.REFUSED_STREAM)
            self._flush()

    def _open(self) -> None:
        if not self._opened and self._stream.closable:
            self._h2.send_headers(self._id, _HEADERS)
            self._opened = True

    async def _data(self, data: bytes) -> None:
        position, size = 0, len(data)
        while self._stream.closable:
            window = self._h2.local_flow_control_window(self._id)
            if window > 0:
                end = min(position + min(window, self._h2.max_outbound_frame_size), size)
                self._h2.send_data(self._id, data[position:end])
                position = end
                if position == size:
                    return
                continue
            self._stream.window_updated.clear()
            self._flush()
            await self._stream.window_updated.wait()
            await self._writable()

    def _finish(self, trailers: list[tuple[bytes, bytes]]) -> None:
        if not self._stream.closable:
            return
        self._h2.send_headers(self._id, trailers, end_stream=True)
        self.written = not self._stream.connection.is_closing()
        if self._stream.closable:
            # The caller has not half-closed: tell it that nothing more is read (RFC 9113, section 8.1).
            self._h2.reset_stream(self._id, error_code=ErrorCodes.NO_ERROR)
        self._flush()

    async def _writable(self) -> None:
        ready = self._stream.connection.write_ready
        if not ready.is_set():
            await ready.wait()

    def _flush(self) -> None:
        if not self._stream.connection.is_closing():
            self._stream.connection.flush()
