"""HTTP/2 written by hand: an attacker's connection knows no state that could keep it from anything."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import hpack

__all__ = [
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GREETING",
    "HEADERS",
    "PATIENCE_S",
    "PING",
    "PREFACE",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "Peer",
    "blocks",
    "call",
    "frame",
    "message",
    "peer",
    "together",
]

Place = tuple[str, int]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE_S = 5.0
"""Seconds for one step of an attack; what the server does not take by then is left."""


def frame(kind: int, body: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


GREETING = PREFACE + frame(SETTINGS)


def message(payload: bytes) -> bytes:
    """A message of gRPC, as DATA holds it."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def blocks(path: str) -> tuple[bytes, bytes]:
    """A request's headers, compressed: the first time on a connection, and each time after it."""
    encoder = hpack.Encoder()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    return encoder.encode(headers), encoder.encode(headers)


def call(stream: int, block: bytes, body: bytes | None = None) -> bytes:
    """A request; without ``body`` its messages are yet to come."""
    opened = frame(HEADERS, block, stream=stream, flags=END_HEADERS)
    return opened if body is None else opened + frame(DATA, body, stream=stream, flags=END_STREAM)


class Peer:
    """One connection. What the server does to it is no error."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Write, and wait until the server takes it, or no longer."""
        self._writer.write(data)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.drain()

    async def pour(self, data: bytes, times: int) -> None:
        """The same again and again, until the server hangs up."""
        for _ in range(times):
            if self._writer.is_closing() or self._reader.at_eof():
                return
            await self.write(data)

    async def read(self) -> None:
        """Take what comes, to the end, or as long as patience lasts."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while await self._reader.read(65_536):
                    pass

    async def answer(self) -> int:
        """Take the answer to a call, to its end.

        :return: how many bytes of DATA it had. :raises EOFError: the connection ended before.
        """
        size = 0
        while True:
            head = await self._reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            await self._reader.readexactly(length)
            if kind == DATA:
                size += length
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return size

    def deafen(self) -> None:
        """Take nothing more from the socket."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def unread(self) -> int:
        """Bytes that came and wait in the socket to be read."""
        count = bytearray(4)
        fcntl.ioctl(self._writer.get_extra_info("socket").fileno(), termios.FIONREAD, count)
        return int.from_bytes(count, sys.byteorder)

    def reset(self) -> None:
        """Have the end be a reset of the connection."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def close(self) -> None:
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()


@asynccontextmanager
async def peer(place: Place, data: bytes = GREETING) -> AsyncIterator[Peer]:
    opened = Peer(*await asyncio.open_connection(*place))
    try:
        await opened.write(data)
        yield opened
    finally:
        await opened.close()


async def together(works: Iterable[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Run all of them, so many at a time."""
    turns = asyncio.Semaphore(at_once)

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        async with turns:
            await work()

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(run(work))
