"""A channel whose calls in flight outlive a server's announcement that it is going away.

grpclib closes a connection at its GOAWAY, and h2 takes it for the end: both would lose calls that the server still
answers. With NO_ERROR it means only that no new calls belong on this connection (RFC 9113, section 6.8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import Connection, EventsProcessor, H2Protocol, Stream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from hyperframe.frame import Frame, GoAwayFrame

__all__ = ["GOING_AWAY", "DrainingChannel"]

NO_GRPC = "what answers at this address speaks HTTP/1, and no gRPC"
GOING_AWAY = "the server is going away and does not take this call"


class DrainingChannel(Channel):
    """A grpclib channel that opens a new connection for the calls after a GOAWAY, and lets those before it end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Takes what :class:`grpclib.client.Channel` takes."""
        super().__init__(*args, **options)
        self._open: set[_DrainingProtocol] = set()

    def close(self) -> None:
        """Closes every connection; calls in flight end with StreamTerminatedError."""
        super().close()
        for protocol in list(self._open):
            protocol.processor.close()

    def _protocol_factory(self) -> H2Protocol:
        return _DrainingProtocol(self._config, self._h2_config, self._open)


class _Calls(EventsProcessor):
    """The calls of one connection: says when one has ended, and begins none once the connection is not to be used."""

    def __init__(self, protocol: _DrainingProtocol, connection: Connection) -> None:
        super().__init__(protocol.handler, connection)
        self._protocol = protocol

    def register(self, stream: Stream) -> Callable[[], None]:
        release = super().register(stream)

        def release_and_tell() -> None:
            release()
            self._protocol.close_when_over()

        if not self._protocol.usable:
            # The call waited here for its turn meanwhile. Its headers are prepared, and are followed by their reset.
            if stream.closable:
                stream.reset_nowait()
            release_and_tell()
            raise StreamTerminatedError(GOING_AWAY)
        return release_and_tell


class _DrainingProtocol(H2Protocol):
    """One connection to a server."""

    handler: Handler
    processor: _Calls

    def __init__(self, config: Configuration, h2_config: H2Configuration, opened: set[_DrainingProtocol]) -> None:
        super().__init__(Handler(), config, h2_config)
        self._opened = opened
        self._retired = False
        self._heard = False
        self._speaks_grpc = True

    @property
    def usable(self) -> bool:
        """False once new calls belong on another connection."""
        return not (self._retired or self.handler.connection_lost or self.connection.is_closing())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.processor = _Calls(self, self.connection)
        h2: H2Connection = self.connection._connection
        self._end_at_goaway = h2._frame_dispatch_table[GoAwayFrame]
        h2._frame_dispatch_table[GoAwayFrame] = self._received_goaway
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        if self.connection.is_closing():
            return
        if not self._heard and data.startswith(b"HTTP/1."):
            self._speaks_grpc = False  # h2 would close the connection as on any fault
            self.processor.close(reason=NO_GRPC)
            return
        self._heard = True
        super().data_received(data)
        # Not before all of it was handled: the server may have asked after the GOAWAY whether it was seen.
        self.close_when_over()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._opened.discard(self)
        if self._speaks_grpc:
            super().connection_lost(exc)
        else:  # whose words would take the place of these
            self.processor.close(reason=NO_GRPC)

    def close_when_over(self) -> None:
        """Closes the connection if the server is going away and has answered everything."""
        if self._retired and not self.processor.streams and not self.connection.is_closing():
            self.processor.close()

    def _received_goaway(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if frame.error_code != ErrorCodes.NO_ERROR:
            found: tuple[list[Frame], list[Event]] = self._end_at_goaway(frame)
            return found
        self._retired = True
        self.handler.connection_lost = True  # what the channel asks before it uses a connection again
        for number, stream in self.processor.streams.items():
            if number > frame.last_stream_id:
                stream.__terminated__(GOING_AWAY)
        return [], []
