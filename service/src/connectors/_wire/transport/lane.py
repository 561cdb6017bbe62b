"""grpclib's stream, without what a server with its own buffers has no use for.

grpclib's makes four events and a queue for each, 6 µs and 7 KB; what it makes them for is its own reading.
"""

from __future__ import annotations

import asyncio

from grpclib.config import Configuration
from grpclib.protocol import Buffer, Connection, Stream

from connectors._wire.transport.http2 import Http2

_UNSENT_BYTES = 65_536
"""What may wait for the end of a turn: more is handed to the socket, whose own bound then holds."""


class Line(Connection):
    """grpclib's connection, which collects a turn's answers into one write: a write costs more than an answer."""

    def __init__(self, h2: Http2, transport: asyncio.Transport, *, config: Configuration) -> None:
        super().__init__(h2, transport, config=config)
        self.waiting: set[Lane] = set()
        """Streams whose messages wait for the caller's window."""
        self._h2 = h2
        self._loop = asyncio.get_running_loop()
        self._flushes = False

    def flush_soon(self) -> None:
        """Writes what there is before the event loop looks at its sockets again."""
        if self._h2.unsent > _UNSENT_BYTES:
            self.flush()
        elif not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushes = False
        if not self.is_closing():
            self.flush()


class Lane(Stream):
    """One stream, from its headers until it is released."""

    connection: Line
    id: int

    def __init__(
        self, connection: Line, h2: Http2, transport: asyncio.Transport, stream_id: int, lanes: dict[int, Stream]
    ) -> None:
        """:param lanes: where this one is kept until it is released."""
        self.connection = connection
        self.id = stream_id
        self.wrapper = None
        self._h2_connection = h2
        self._transport = transport
        self._lanes = lanes
        lanes[stream_id] = self

    def acknowledge(self, size: int) -> None:
        """Gives window back to the caller, in bytes."""
        if size and not self.connection.is_closing():
            self.connection.ack(self.id, size)

    async def window(self) -> None:
        """Waits until the caller has opened its window."""
        self.window_updated = asyncio.Event()
        self.connection.waiting.add(self)
        try:
            await self.window_updated.wait()
        finally:
            self.connection.waiting.discard(self)

    def release(self) -> None:
        """The call is over: what still comes is nobody's."""
        del self._lanes[self.id]
        # A refused request has none. It knows this lane: once it is let go, neither needs the garbage collector.
        buffer: Buffer | None = vars(self).pop("buffer", None)
        if buffer is not None:
            self.acknowledge(buffer.unacked_size())
