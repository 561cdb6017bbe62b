"""gRPC's length-prefixed messages: cut out of a stream's DATA, and put into it.

The format is `Length-Prefixed-Message` of the gRPC protocol over HTTP/2; what a receiver does with a compressed message
is in gRPC's compression document (https://github.com/grpc/grpc/blob/master/doc/compression.md).
"""

from __future__ import annotations

import zlib

from connectors._wire.status import Status
from connectors._wire.transport.refusal import Reason, Refusal

PREFIX_BYTES = 5
_GZIP_WINDOW_BITS = 31  # zlib: the largest window, in a gzip wrapper


def prefix(message: bytes) -> bytes:
    """What goes into DATA frames before an uncompressed message."""
    return b"\0" + len(message).to_bytes(4, "big")


def only_message(data: bytes, max_bytes: int) -> bytes | None:
    """The message, where ``data`` is a whole one that is neither compressed nor over the limit, and nothing else."""
    size = len(data) - PREFIX_BYTES
    if 0 <= size <= max_bytes and data[0] == 0 and int.from_bytes(data[1:PREFIX_BYTES], "big") == size:
        return data[PREFIX_BYTES:]
    return None


class MessageReader:
    """Cuts the DATA of one stream into messages, and refuses what is not one.

    Memory is bounded by one message: a length over the limit is refused when its prefix is seen, before the message
    itself arrives.
    """

    __slots__ = ("_buffer", "_encoding", "_max_bytes")

    def __init__(self, max_bytes: int, encoding: str = "identity") -> None:
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, decompressed. :raises Refusal: the stream holds something else."""
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start = 0
        while len(buffer) - start >= PREFIX_BYTES:
            compressed = self._check_flag(buffer[start])
            size = int.from_bytes(buffer[start + 1 : start + PREFIX_BYTES], "big")
            if size > self._max_bytes:
                raise _too_large(f"the message is {size} bytes, the limit is {self._max_bytes}")
            end = start + PREFIX_BYTES + size
            if len(buffer) < end:
                break
            message = bytes(buffer[start + PREFIX_BYTES : end])
            messages.append(self._decompress(message) if compressed else message)
            start = end
        del buffer[:start]
        return messages

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole."""
        return len(self._buffer)

    def end(self) -> None:
        """The stream ended here. :raises Refusal: in the middle of a message."""
        if self._buffer:
            raise Refusal(Status.INTERNAL, Reason.TRUNCATED, "the request stream ended in the middle of a message")

    def _check_flag(self, flag: int) -> bool:
        if flag == 0:
            return False
        if flag != 1:
            raise Refusal(Status.INTERNAL, Reason.BAD_FRAME, f"the message's compressed flag is {flag}, not 0 or 1")
        if self._encoding == "identity":
            raise Refusal(
                Status.INTERNAL, Reason.BAD_FRAME, "the message is marked as compressed, but grpc-encoding names none"
            )
        return True

    def _decompress(self, data: bytes) -> bytes:
        decoder = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
        try:
            # One byte more than allowed is enough to know, however much a small message would expand to.
            message = decoder.decompress(data, self._max_bytes + 1)
        except zlib.error:
            raise _corrupt() from None
        if len(message) > self._max_bytes:
            raise _too_large(f"the message is over the limit of {self._max_bytes} bytes once decompressed")
        if not decoder.eof or decoder.unused_data:
            raise _corrupt()
        return message


def _too_large(message: str) -> Refusal:
    return Refusal(Status.RESOURCE_EXHAUSTED, Reason.MESSAGE_TOO_LARGE, message)


def _corrupt() -> Refusal:
    return Refusal(Status.INTERNAL, Reason.CORRUPT_MESSAGE, "the compressed message is not valid gzip")
