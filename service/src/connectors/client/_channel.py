"""A channel whose calls in flight outlive a server's announcement that it is going away.

grpclib closes a connection at its GOAWAY, and h2 takes it for the end: both would lose calls that the server still
answers. With NO_ERROR it means only that no new calls belong on this connection (RFC 9113, section 6.8).

No call is made on a connection before the server has spoken, as it has to without being asked (RFC 9113, section 3.4).
What is no gRPC server is so known by what it says: were a call written at once, the write could fail first, and what
was said be lost with the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import Connection, EventsProcessor, H2Protocol, Stream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, RemoteSettingsChanged, StreamReset
from hyperframe.frame import Frame, GoAwayFrame

__all__ = ["GOING_AWAY", "NO_GRPC", "DrainingChannel"]

NO_GRPC = "what answers at this address speaks HTTP/1, and no gRPC"
GOING_AWAY = "the server is going away and does not take this call"
_NO_ANSWER = (
    "the connection was lost before a gRPC server spoke on it; check the address, and whether TLS is used there"
)
_HTTP_1 = b"HTTP/1."
_GOODBYE_S = 1.0
"""How long a closed connection may take to be gone: TLS waits for the server's answer, for half a minute by default."""


class DrainingChannel(Channel):
    """A grpclib channel that opens a new connection for the calls after a GOAWAY, and lets those before it end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Takes what :class:`grpclib.client.Channel` takes."""
        super().__init__(*args, **options)
        self._open: set[_DrainingProtocol] = set()
        self._closed = False

    def close(self) -> None:
        """Closes every connection for good; calls in flight end with StreamTerminatedError."""
        self._closed = True
        super().close()
        for protocol in list(self._open):
            protocol.processor.close()

    async def aclose(self) -> None:
        """Likewise; when it returns, no socket is left that only this event loop could close."""
        self.close()
        try:
            async with asyncio.timeout(_GOODBYE_S):
                for protocol in list(self._open):
                    await protocol.gone.wait()
        except TimeoutError:
            pass
        finally:
            for protocol in list(self._open):
                protocol.abort()

    async def _create_connection(self) -> H2Protocol:
        made = cast("_DrainingProtocol", await super()._create_connection())
        try:
            if self._closed:
                raise ConnectionError("the channel is closed")
            await made.spoken()
        except BaseException:
            made.processor.close()
            made.abort()  # nobody else knows of it, to wait for its end
            raise
        return made

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

    def process_remote_settings_changed(self, event: RemoteSettingsChanged) -> None:
        super().process_remote_settings_changed(event)
        self._protocol.has_spoken()

    def process_stream_reset(self, event: StreamReset) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None or event.error_code != ErrorCodes.NO_ERROR or not stream.buffer._eof:
            super().process_stream_reset(event)
        else:  # it has answered, and needs no more of the request: the answer stands (RFC 9113, section 8.1)
            stream.window_updated.set()  # what still sends is told that the stream is closed


class _DrainingProtocol(H2Protocol):
    """One connection to a server."""

    handler: Handler
    processor: _Calls

    def __init__(self, config: Configuration, h2_config: H2Configuration, opened: set[_DrainingProtocol]) -> None:
        super().__init__(Handler(), config, h2_config)
        self._opened = opened
        self._retired = False
        self._heard = False
        self._spoken = asyncio.Event()
        self._fault = _NO_ANSWER
        self.gone = asyncio.Event()

    @property
    def usable(self) -> bool:
        """False once new calls belong on another connection."""
        return not (self._retired or self.handler.connection_lost or self.connection.is_closing())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = cast(asyncio.Transport, transport)
        self.processor = _Calls(self, self.connection)
        h2: H2Connection = self.connection._connection
        self._end_at_goaway = h2._frame_dispatch_table[GoAwayFrame]
        h2._frame_dispatch_table[GoAwayFrame] = self._received_goaway
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        if self.connection.is_closing():
            return
        if not self._heard and _HTTP_1.startswith(data[: len(_HTTP_1)]):
            self._fault = NO_GRPC  # h2 would close the connection as on any fault
            self.processor.close()
            return
        self._heard = True
        super().data_received(data)
        # Not before all of it was handled: the server may have asked after the GOAWAY whether it was seen.
        self.close_when_over()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._opened.discard(self)
        super().connection_lost(exc)
        self._spoken.set()
        self.gone.set()

    def has_spoken(self) -> None:
        """The server's first frame came."""
        self._spoken.set()

    async def spoken(self) -> None:
        """Returns when calls can be made. :raises ConnectionError: none can, now that it is over."""
        await self._spoken.wait()
        if self.connection.is_closing():
            raise ConnectionError(self._fault)

    def abort(self) -> None:
        """Ends it at once, whatever was not sent yet."""
        self._socket.abort()

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
