"""What a client sends: cut into frames, of which the ordinary ones go a short way, and all others through h2."""

from __future__ import annotations

import struct
from typing import Protocol

from h2.exceptions import DenialOfServiceError, FrameTooLargeError

from connectors._wire.transport.gate import Gate
from connectors._wire.transport.http2 import Http2
from connectors._wire.transport.limits import FRAMES_AT_ONCE, H2_FRAMES
from connectors._wire.transport.request import Headers

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (RFC 9113, section 3.4)."""

_HEADER_BYTES = 9
_DATA, _HEADERS, _PUSH_PROMISE, _CONTINUATION = 0x0, 0x1, 0x5, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4
_STREAM_ID = 0x7FFFFFFF
_read_head = struct.Struct(">HBBBL").unpack_from


class Reader(Protocol):
    """Who is told what came."""

    def began(self, stream_id: int, headers: Headers) -> None:
        """A request's headers."""

    def ended(self, stream_id: int, data: bytes) -> None:
        """DATA that ends a request."""

    def came(self, data: bytes) -> bool:
        """Anything else, for h2. False where nothing more is to be read."""


class Intake:
    """Reads the frames of one connection. h2 is given whole frames only, so nothing of them waits in its own buffer."""

    def __init__(self, h2: Http2, gate: Gate, reader: Reader) -> None:
        self._h2 = h2
        self._gate = gate
        self._reader = reader
        self._preface = len(PREFACE)
        self._cut = b""  # a frame that has not come whole
        self._within_headers = False
        self._block_bytes = 0  # of a header block so far

    def take(self, data: bytes) -> bytes:
        """Handles ``data``. What it gives back is to be handled in the event loop's next turn.

        :raises Flood: the gate's. :raises ProtocolError: h2's.
        """
        if self._preface:
            preface, data = data[: self._preface], data[self._preface :]
            self._preface -= len(preface)
            if not self._reader.came(preface):
                return b""
        if self._cut:
            data, self._cut = self._cut + data, b""
        h2, reader = self._h2, self._reader
        position = frames = 0
        end = len(data)
        while end - position >= _HEADER_BYTES:
            if frames >= FRAMES_AT_ONCE:
                return data[position:]
            frames += 1
            high, low, kind, flags, stream_id = _read_head(data, position)
            stream_id &= _STREAM_ID
            body = position + _HEADER_BYTES
            size = high << 8 | low
            after = body + size
            if size > h2.max_inbound_frame_size:
                raise FrameTooLargeError(f"a frame of {size} bytes, the most is {h2.max_inbound_frame_size}")
            if after > end:
                break
            if self._within_headers:
                ordinary = False
            elif kind == _HEADERS:
                ordinary = flags == _END_HEADERS and h2.begins(stream_id)
            else:
                ordinary = kind == _DATA and flags == _END_STREAM and h2.end_request(stream_id, size)
            if not ordinary:
                frames += H2_FRAMES - 1
                if kind in (_HEADERS, _PUSH_PROMISE, _CONTINUATION):
                    self._goes_on(size, flags)
                self._gate.admit(size, kind, flags, over=h2.is_over(stream_id))
                if not reader.came(data[position:after]):
                    return b""
            elif kind == _HEADERS:
                reader.began(stream_id, h2.begin(stream_id, data[body:after]))
            else:
                reader.ended(stream_id, data[body:after])
            position = after
        self._cut = data[position:]
        return b""

    def _goes_on(self, size: int, flags: int) -> None:
        # No encoder takes more for a list of headers than that is long, with the 32 bytes that each one counts for.
        self._block_bytes = size if not self._within_headers else self._block_bytes + size
        most = self._h2.decoder.max_header_list_size
        if self._block_bytes > most:
            raise DenialOfServiceError(f"a header block of more than {most} bytes")
        self._within_headers = not flags & _END_HEADERS
