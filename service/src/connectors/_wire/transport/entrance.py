"""The way into a port that speaks TLS: each connection's handshake, with the certificate of the moment.

The event loop's own servers can do this too, but with one context for good, with no bound on how many handshakes are
under way, and with no word on those that fail.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from connectors._wire.transport.limits import BACKLOG, LINGER_S
from connectors._wire.transport.peer import as_text
from connectors._wire.transport.refusal import Reason

ALPN = "h2"
"""What TLS calls HTTP/2 (RFC 9113, section 3.2). Nothing else is spoken here."""

_AT_ONCE = 64
"""Connections taken between two turns of the event loop."""
_ACCEPT_AGAIN_S = 1.0
"""Seconds until the next try where the process has no file descriptors left."""
# What OpenSSL calls a first record that is none. gRPC without TLS begins with `PRI * HTTP/2.0`.
_NOT_TLS = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL"})

_logger = logging.getLogger(__name__)


class EntranceOwner(Protocol):
    """What an entrance tells the server it belongs to."""

    def has_room(self) -> bool:
        """Whether one more client is taken."""

    def admit(self) -> asyncio.Protocol:
        """What speaks HTTP/2 with a client whose handshake is done."""

    def turned_away(self, reason: Reason) -> None:
        """No connection came of a client."""

    def handshakes_changed(self) -> None:
        """One is over."""


class Entrance:
    """The listening sockets, and the handshakes under way."""

    def __init__(self, owner: EntranceOwner, context: Callable[[], ssl.SSLContext], timeout: float) -> None:
        """:param timeout: seconds for a handshake."""
        self._owner = owner
        self._context = context
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._handshakes: dict[asyncio.Task[None], socket.socket | None] = {}

    def __len__(self) -> int:
        """How many handshakes are under way."""
        return len(self._handshakes)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listens on every address of ``host``, and returns the first. :raises OSError: one cannot be bound."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, place in dict.fromkeys(found):
                listener = socket.create_server(cast(tuple[str, int], place[:2]), family=family, backlog=BACKLOG)
                listener.setblocking(False)
                self._listeners.append(listener)
        except OSError:
            self.close()
            raise
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)
        name = self._listeners[0].getsockname()
        return name[0], name[1]

    def close(self) -> None:
        """Stops listening. Handshakes go on."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def abort(self) -> None:
        """Ends the handshakes under way."""
        for handshake in list(self._handshakes):
            handshake.cancel()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, place = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _logger.error("no connection can be accepted for %g s: %s", _ACCEPT_AGAIN_S, error)
                self._loop.remove_reader(listener)
                self._loop.call_later(_ACCEPT_AGAIN_S, self._accept_again, listener)
                return
            if not self._owner.has_room():
                client.close()
                self._owner.turned_away(Reason.TOO_MANY_CONNECTIONS)
                continue
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handshake = self._loop.create_task(self._handshake(client, as_text(place)))
            self._handshakes[handshake] = client
            handshake.add_done_callback(self._over)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    async def _handshake(self, client: socket.socket, peer: str) -> None:
        this = cast("asyncio.Task[None]", asyncio.current_task())
        self._handshakes[this] = None  # from here on the event loop closes it
        try:
            await self._loop.connect_accepted_socket(
                lambda: _Threshold(self._owner, peer, partial(self._over, this)),
                client,
                ssl=self._context(),
                ssl_handshake_timeout=self._timeout,
                ssl_shutdown_timeout=LINGER_S,
            )
        except OSError as error:
            self._failed(peer, error)

    def _over(self, handshake: asyncio.Task[None]) -> None:
        client = self._handshakes.pop(handshake, None)
        if client is not None:
            client.close()
        self._owner.handshakes_changed()

    def _failed(self, peer: str, error: OSError) -> None:
        reason = Reason.TLS_HANDSHAKE
        if isinstance(error, ssl.SSLError):
            said = (error.reason or str(error)).lower().replace("_", " ")
            if error.reason in _NOT_TLS:
                said += "; it seems to speak without TLS, and this port speaks TLS alone"
        elif isinstance(error, ConnectionAbortedError):  # the event loop's word for a handshake that takes too long
            said, reason = f"it was not done within {self._timeout:g} s", Reason.SLOW_HANDSHAKE
        else:
            said = "the client hung up"
        _logger.debug("the TLS handshake of %s failed: %s", peer, said)
        self._owner.turned_away(reason)


class _Threshold(asyncio.Protocol):
    """Where a handshake ends and HTTP/2 begins."""

    def __init__(self, owner: EntranceOwner, peer: str, over: Callable[[], None]) -> None:
        # The handshake is not to be counted any more when the connection that comes of it is.
        self._owner = owner
        self._peer = peer
        self._over = over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._over()
        if cast(ssl.SSLObject, transport.get_extra_info("ssl_object")).selected_alpn_protocol() != ALPN:
            _logger.debug("turned away %s: it does not ask for HTTP/2 (h2) by ALPN", self._peer)
            self._owner.turned_away(Reason.TLS_HANDSHAKE)
            transport.close()
            return
        session = self._owner.admit()
        transport.set_protocol(session)
        session.connection_made(transport)
