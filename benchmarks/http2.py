"""Just as much HTTP/2 as a load generator needs: unary gRPC calls out, their statuses back.

It knows what it sends and checks what it gets, and does nothing else: no codec, no stream objects, no task per call.
What it cannot handle is an error, never passed over.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import unquote

from hpack import Decoder, Encoder
from hpack.table import HeaderTable

__all__ = ["OK", "Connection", "frame", "header_blocks"]

OK = "OK"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_MAX_CONCURRENT_STREAMS, _INITIAL_WINDOW_SIZE = 0x3, 0x4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW, _FIRST_WINDOW = 2**31 - 1, 65_535
_LAP = 256
"""Header blocks after which they begin again."""
_EMPTY_TABLE = b"\x20\x3f\xe1\x1f"
"""The table's size set to 0, and back to its 4,096 bytes: https://www.rfc-editor.org/rfc/rfc7541#section-6.3."""
_read_frame = struct.Struct(">HBBBL").unpack_from
_write_frame = struct.Struct(">HBBBL").pack

Answered = Callable[["Connection", float, str], None]
"""Of the connection, the instant that :meth:`Connection.call` was given, and the status: ``OK``, or what went wrong."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """https://www.rfc-editor.org/rfc/rfc9113#section-4.1."""
    size = len(payload)
    return _write_frame(size >> 8, size & 0xFF, kind, flags, stream) + payload


def header_blocks(path: str, authority: str, timeout: float = 10.0) -> Sequence[bytes]:
    """What Go's client would write for 256 calls, one after the other, over and over.

    Everything is indexed, and ``grpc-timeout``, which is another in each call, pushes the rest out of the table now and
    then: so no two blocks in a row are the same bytes, as none are in life. The first empties the table.
    """
    encoder = Encoder()
    blocks = [
        encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", authority),
                ("content-type", "application/grpc"),
                ("user-agent", "grpc-go/1.62.1"),
                ("te", "trailers"),
                ("grpc-timeout", f"{round(timeout * 1e6) - _LAP + number}u"),
            ]
        )
        for number in range(_LAP)
    ]
    return [_EMPTY_TABLE + blocks[0], *blocks[1:]]


class _CountingTable(HeaderTable):
    """Tells that the table was changed, and so that what a block means was, too."""

    changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class Connection(asyncio.Protocol):
    """One connection, with as many calls of one method at once as the server allows; what is above waits here.

    Once it is lost, every call ends at once with what became of it.
    """

    def __init__(self, blocks: Sequence[bytes], answered: Answered) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the server's SETTINGS; a failure where the connection is lost before."""
        self._blocks, self._answered = blocks, answered
        self._decoder = Decoder()
        self._table = self._decoder.header_table = _CountingTable()
        self._known: dict[bytes, str | None] = {}
        self._open: dict[int, float] = {}
        self._with_message: set[int] = set()
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._next = 0  # the number of the next call
        self._window = self._stream_window = _FIRST_WINDOW
        self._streams = _WINDOW
        self._taken = 0  # bytes of DATA since the last WINDOW_UPDATE
        self._rest = b""
        self._out: list[bytes] = []
        self._reading = False
        self.held_back = 0
        """Calls that waited here: the server allowed no more at once, or no more bytes."""
        self.lost = ""
        """Why, once it is."""
        self._transport: asyncio.Transport

    @property
    def outstanding(self) -> int:
        """Calls that are not answered yet."""
        return len(self._open) + len(self._waiting)

    def call(self, body: bytes, at: float) -> None:
        """Send a call, now or as soon as the server takes it. :param at: is given back with the status."""
        if self.lost:
            self._answered(self, at, self.lost)
            return
        if self._waiting or len(self._open) >= self._streams or len(body) + 5 > self._window:
            self._waiting.append((body, at))
            self.held_back += 1
            return
        self._send(body, at)
        if not self._reading:
            self._flush()

    def close(self) -> None:
        """Close it; calls that are outstanding are not answered any more."""
        self._open.clear()
        self._waiting.clear()
        self._transport.close()

    def _send(self, body: bytes, at: float) -> None:
        block = self._blocks[self._next % _LAP]
        stream, size = self._next * 2 + 1, len(body) + 5
        self._next += 1
        self._window -= size
        if size > self._stream_window:
            raise ValueError(f"a body of {size} bytes is over the stream's window of {self._stream_window}")
        self._open[stream] = at
        length = len(block)
        self._out += (
            _write_frame(length >> 8, length & 0xFF, _HEADERS, _END_HEADERS, stream),
            block,
            _write_frame(size >> 8, size & 0xFF, _DATA, _END_STREAM, stream),
            b"\0" + (size - 5).to_bytes(4, "big"),
            body,
        )

    def _flush(self) -> None:
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    # -------------------------------------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # of TCP; uvloop's is of no class of asyncio's
        settings = struct.pack(">HLHL", 0x2, 0, _INITIAL_WINDOW_SIZE, _WINDOW)  # 0x2: nothing is pushed
        wider = struct.pack(">L", _WINDOW - _FIRST_WINDOW)
        self._transport.write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, wider))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost: {exc or 'closed by the server'}")

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        position, end = 0, len(data)
        self._reading = True
        while end - position >= 9:
            high, low, kind, flags, stream = _read_frame(data, position)
            begin, stop = position + 9, position + 9 + (high << 8 | low)
            if stop > end:
                break
            position = stop
            if kind == _HEADERS:
                if flags & _PADDED or not flags & _END_HEADERS:
                    self._fail("HEADERS with padding, or in several frames, are not read here")
                    return
                status = self._status(data[begin:stop])
                if flags & _END_STREAM:
                    self._over(stream, status or "an answer with no status")
            elif kind == _DATA:
                self._taken += stop - begin
                if stop - begin >= 5:
                    self._with_message.add(stream)
                if flags & _END_STREAM:
                    self._over(stream, "an answer with no trailers")
            else:
                self._beside(kind, flags, stream, data[begin:stop])
        self._rest = data[position:]
        if self._taken > 2**30:
            self._out.append(frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", self._taken)))
            self._taken = 0
        self._next_ones()
        self._reading = False
        self._flush()

    # -------------------------------------------------------------------------------------------------- what came

    def _status(self, block: bytes) -> str | None:
        """The same block means the same as long as the table is the same."""
        if block in self._known:
            return self._known[block]
        changes = self._table.changes
        status = _status_of(dict(self._decoder.decode(block)))
        if self._table.changes != changes:
            self._known.clear()
        elif len(self._known) < 1_000:  # messages may be different in each answer
            self._known[block] = status
        return status

    def _over(self, stream: int, status: str) -> None:
        at = self._open.pop(stream, None)
        if at is None:
            self._fail(f"an answer on stream {stream}, which is not open")
            return
        if stream in self._with_message:
            self._with_message.remove(stream)
        elif status == OK:
            status = "OK without a message"
        self._answered(self, at, status)

    def _beside(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Frames that are no answer."""
        if kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HL", payload):
                if name == _MAX_CONCURRENT_STREAMS:
                    self._streams = value
                elif name == _INITIAL_WINDOW_SIZE:
                    self._stream_window = value
            self._out.append(frame(_SETTINGS, _ACK, 0))
            if not self.ready.done():
                self.ready.set_result(None)
        elif kind == _PING and not flags & _ACK:
            self._out.append(frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == _RST_STREAM and stream in self._open:  # after its answer it says that no more is needed
            self._over(stream, f"RST_STREAM {int.from_bytes(payload, 'big')}")
        elif kind == _GOAWAY:
            self._fail(f"GOAWAY {int.from_bytes(payload[4:8], 'big')} {payload[8:].decode(errors='replace')}")

    def _next_ones(self) -> None:
        while self._waiting and len(self._open) < self._streams and len(self._waiting[0][0]) + 5 <= self._window:
            self._send(*self._waiting.popleft())

    def _fail(self, reason: str) -> None:
        self.lost = self.lost or reason
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
        lost = [*self._open.values(), *(at for _, at in self._waiting)]
        self._open.clear()
        self._waiting.clear()
        for at in lost:
            self._answered(self, at, reason)
        self._transport.abort()


def _status_of(headers: dict[bytes | str, bytes | str]) -> str | None:
    """None where they are those before a message."""
    texts = {str(name): str(value) for name, value in headers.items()}
    if texts.get(":status", "200") != "200":
        return f"HTTP {texts[':status']}"
    status = texts.get("grpc-status")
    if status is None or status == "0":
        return status and OK
    return f"grpc-status {status}: {unquote(texts.get('grpc-message', ''))}"
