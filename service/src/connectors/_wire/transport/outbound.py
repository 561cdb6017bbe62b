"""The answering half of one stream: headers, messages and trailers, in as few socket writes as they fit."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from h2.errors import ErrorCodes

from connectors._wire.status import Status
from connectors._wire.transport.buffers import ConnectionBuffers, Refuse
from connectors._wire.transport.framing import PREFIX_BYTES, prefix
from connectors._wire.transport.gate import Gate
from connectors._wire.transport.header_blocks import literal_block
from connectors._wire.transport.http2 import Http2
from connectors._wire.transport.inbox import CallEnded
from connectors._wire.transport.lane import Lane
from connectors._wire.transport.limits import MESSAGE_OVERHEAD_BYTES
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.request import Headers

MAX_STATUS_MESSAGE_BYTES = 4096

_OPENING = [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity,gzip")]
_HEADERS = [(b":status", b"200"), *_OPENING]
_OK_TRAILERS = [(b"grpc-status", b"0")]
_HEADERS_BLOCK, _OK_TRAILERS_BLOCK = literal_block(_HEADERS), literal_block(_OK_TRAILERS)
"""The same as bytes: nearly every answer has these, and no other."""
# Printable ASCII but the percent sign stands for itself (gRPC over HTTP/2, Status-Message).
_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def encode_status_message(message: str) -> bytes:
    """``message`` percent-encoded for `grpc-message`, cut to 4,096 bytes between two characters."""
    encoded = quote(message, safe=_UNQUOTED, errors="replace")
    while len(encoded) > MAX_STATUS_MESSAGE_BYTES:
        message = message[: len(message) * MAX_STATUS_MESSAGE_BYTES // len(encoded)]
        encoded = quote(message, safe=_UNQUOTED, errors="replace")
    return encoded.encode("ascii")


class Unread:
    """A message that its caller does not take: how long that may last, and how much is held of such messages."""

    __slots__ = ("_buffers", "_refuse", "_timeout", "_timer")

    def __init__(self, buffers: ConnectionBuffers, refuse: Refuse, timeout: float) -> None:
        """:param refuse: ends the call. :param timeout: seconds for one message."""
        self._buffers = buffers
        self._refuse = refuse
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None

    def waits(self, size: int) -> None:
        """``size`` bytes are left of a message. May end the call."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._late)
        self._buffers.hold(self._refuse, size + MESSAGE_OVERHEAD_BYTES)

    def over(self) -> None:
        """The message is written, or will not be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._buffers.hold(self._refuse, 0)

    def _late(self) -> None:
        message = f"the answer was not read within {self._timeout:g} s"
        self._refuse(Refusal(Status.DEADLINE_EXCEEDED, Reason.SLOW_READER, message))


class Outbound:
    """Writes one answer. Nothing is written once the stream or its connection is gone."""

    __slots__ = (
        "_buffers",
        "_gate",
        "_h2",
        "_lane",
        "_opened",
        "_timeout",
        "_unread",
        "initial",
        "refuse",
        "trailing",
        "written",
    )

    def __init__(self, lane: Lane, h2: Http2, gate: Gate, buffers: ConnectionBuffers, timeout: float) -> None:
        """:param timeout: seconds in which a caller has to take a message."""
        self._lane = lane
        self._gate = gate
        self._h2 = h2
        self._buffers = buffers
        self._timeout = timeout
        self._unread: Unread | None = None
        self._opened = False
        self.refuse: Refuse | None = None
        """Ends the call whose answer this is, where its caller does not take it; None while there is no such call."""
        self.initial: Headers = ()
        self.trailing: Headers = ()
        self.written = False
        """Whether an answer went out whole, its trailers included, on a stream and a connection that were open."""

    def send_at_once(self, message: bytes) -> bool:
        """Writes a whole unary answer, if it is an ordinary one whose caller waits for it; else nothing."""
        if (
            self.initial
            or self.trailing
            or self._lane.connection.is_closing()
            or not self._lane.connection.write_ready.is_set()
            or not self._h2.answer(self._lane.id, _HEADERS_BLOCK, message, _OK_TRAILERS_BLOCK)
        ):
            return False
        self._gate.sent_data()
        self._gate.answered()
        self.written = True
        self._lane.connection.flush_soon()
        return True

    async def send(self, message: bytes) -> None:
        """Writes one message of a stream of them, as fast as the caller reads.

        :raises CallEnded: it is not taken, and there is no room to hold it.
        """
        await self._message(message)
        self._flush()

    async def send_only(self, message: bytes) -> None:
        """Writes a whole unary answer, as fast as the caller reads. :raises CallEnded: as :meth:`send` does."""
        await self._message(message)
        self.end()

    def end(self) -> None:
        """Writes the trailers of an answer that is OK."""
        if self.initial:
            self._open()
        trailers = [*_OK_TRAILERS, *self.trailing] if self.trailing else _OK_TRAILERS
        self._finish(trailers if self._opened else [*_HEADERS, *trailers])

    def fail(self, status: Status, message: str, http_status: int = 200, *, trailers: Headers | None = None) -> None:
        """Writes any other status, at once: trailers are under no flow control.

        :param trailers: beside the status, in place of the message.
        """
        if self.initial:
            self._open()
        beside = [(b"grpc-message", encode_status_message(message))] if trailers is None else trailers
        trailers = [(b"grpc-status", b"%d" % status), *beside]
        if not self._opened:
            trailers = [(b":status", b"%d" % http_status), *_OPENING, *trailers]
        self._finish(trailers)

    def refuse_stream(self) -> None:
        """Rejects a stream that this connection no longer takes; the caller may safely send it elsewhere."""
        if self._lane.closable:
            self._h2.reset_stream(self._lane.id, error_code=ErrorCodes.REFUSED_STREAM)
            self._h2.forget(self._lane.id)
            self._flush()

    def _open(self) -> None:
        if not self._opened and self._lane.closable:
            self._h2.send_headers(self._lane.id, [*_HEADERS, *self.initial] if self.initial else _HEADERS)
            self._opened = True

    async def _message(self, message: bytes) -> None:
        try:
            await self._writable(len(message))
            self._open()
            await self._data(message)
        finally:
            if self._unread is not None:
                self._unread.over()

    async def _data(self, message: bytes) -> None:
        # Framed as it is cut: a framed copy would be held beside the message for as long as its caller takes neither.
        head = prefix(message)
        position, size = 0, PREFIX_BYTES + len(message)
        while self._lane.closable:
            window = self._h2.local_flow_control_window(self._lane.id)
            if window > 0:
                end = min(position + min(window, self._h2.max_outbound_frame_size), size)
                cut = slice(max(position - PREFIX_BYTES, 0), max(end - PREFIX_BYTES, 0))
                self._h2.send_data(self._lane.id, head[position:end] + message[cut])
                self._gate.sent_data()
                position = end
                if position == size:
                    return
                continue
            self._flush()
            self._waits(size - position)
            await self._lane.window()
            await self._writable(size - position)

    def _finish(self, trailers: list[tuple[bytes, bytes]]) -> None:
        if not self._lane.closable:
            return
        self._h2.send_headers(self._lane.id, trailers, end_stream=True)
        self._gate.answered()
        self.written = not self._lane.connection.is_closing()
        if self._lane.closable:
            # The caller has not half-closed: tell it that nothing more is read (RFC 9113, section 8.1).
            self._h2.reset_stream(self._lane.id, error_code=ErrorCodes.NO_ERROR)
        self._h2.forget(self._lane.id)
        self._lane.connection.flush_soon()

    async def _writable(self, size: int) -> None:
        ready = self._lane.connection.write_ready
        if not ready.is_set():
            self._waits(size)
            await ready.wait()

    def _waits(self, size: int) -> None:
        if self._unread is None and self.refuse is not None:
            self._unread = Unread(self._buffers, self.refuse, self._timeout)
        if self._unread is not None:
            self._unread.waits(size)
        if self.refuse is None:  # what cannot be held has just ended this very call: nothing would wake it
            raise CallEnded

    def _flush(self) -> None:
        if not self._lane.connection.is_closing():
            self._lane.connection.flush()
