"""The listening server: its connections, its calls in flight, and how it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping

from connectors._wire.status import Status
from connectors._wire.transport.buffers import Buffers
from connectors._wire.transport.call import Call, Route
from connectors._wire.transport.dispatch import InFlight, Service
from connectors._wire.transport.entrance import Entrance
from connectors._wire.transport.limits import BACKLOG, LINGER_S, Limits
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.session import Session

REQUEST_PATIENCE_S = 2.0
"""How long a drain waits for requests that are on their way: twice what a client has to confirm the first GOAWAY."""


class GrpcServer:
    """Serves gRPC over HTTP/2, bytes in and bytes out.

    ``on_rejected(method, status, reason)`` hears of each call that the transport ended by itself; ``method`` is what
    the caller sent ("" for a whole connection), ``reason`` a :class:`Reason`. ``on_unhandled(method, error)`` is told
    of an error that a handler let out and returns the text its caller gets. Neither may raise.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        limits: Limits,
        on_rejected: Callable[[str, Status, str], None],
        on_unhandled: Callable[[str, BaseException], str],
    ) -> None:
        self._in_flight = InFlight(self._pulse)
        self._service = Service(dict(routes), limits, self._in_flight, Buffers(limits), on_rejected, on_unhandled)
        self._sessions: set[Session] = set()
        self._entrance: Entrance | None = None
        self._unsettled = 0
        self._draining = False
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    @property
    def connections(self) -> int:
        """Connections that are open now, those in their TLS handshake among them."""
        return len(self._sessions) + self._handshakes

    async def start(self, host: str, port: int, *, tls: Callable[[], ssl.SSLContext] | None = None) -> tuple[str, int]:
        """Listens and returns the address, with the port chosen when ``port`` is 0.

        ``tls`` is asked for its context by each connection, so that a certificate may change; a context must offer
        `h2` by ALPN. :raises OSError: the address cannot be bound.
        """
        if self._server is not None or self._entrance is not None:
            raise RuntimeError("the server was started before")
        if tls is not None:
            self._entrance = Entrance(self, tls, self._service.limits.handshake_timeout)
            return await self._entrance.start(host, port)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.admit, host, port, backlog=BACKLOG)
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def drain(self, grace: float) -> int:
        """Ends the server without losing a call.

        Stops listening, asks every client to open no more streams, and waits up to ``grace`` seconds for the calls in
        flight. Then those left are answered UNAVAILABLE, and their number is returned; endless calls end so too, but
        are neither waited for nor counted. What no work has begun for ends after 2 seconds: calls whose requests have
        not arrived, and handshakes. Afterwards the server is closed, at most 3 seconds later.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + grace
        self._stop_listening()
        if not self._draining:
            self._draining = True
            self._unsettled = sum(session.dispatcher.accepting for session in self._sessions)
            for session in list(self._sessions):
                session.drain()
        await self._until(self._quiet, min(give_up, loop.time() + REQUEST_PATIENCE_S))
        self._refuse([call for call in self._in_flight.calls() if call.incomplete and not call.route.endless])
        if self._entrance is not None:
            self._entrance.abort()
        await self._until(self._quiet, give_up)
        cut_off = self._cut_off()
        for session in list(self._sessions):
            session.settle()
        await self._until(self._empty, loop.time() + LINGER_S)
        await self.close()
        return cut_off

    async def close(self) -> None:
        """Ends the server now: calls in flight are answered UNAVAILABLE, connections closed. At most 2 seconds."""
        self._stop_listening()
        self._cut_off()
        for session in list(self._sessions):
            session.settle()
            session.close()
        loop = asyncio.get_running_loop()
        if self._entrance is not None:
            self._entrance.abort()
        # asyncio's own wait_closed is of no use here: it waits for clients that never close, for ever.
        await self._until(self._empty, loop.time() + LINGER_S)
        for session in list(self._sessions):
            session.abort()
        await self._until(lambda: not self._sessions, loop.time() + LINGER_S)

    def has_room(self) -> bool:
        """Part of the entrance's protocol with its server."""
        return self.connections < self._service.limits.max_connections

    def admit(self) -> Session:
        """Part of the entrance's protocol with its server."""
        return Session(self, self._service)

    def turned_away(self, reason: Reason) -> None:
        """Part of the entrance's protocol with its server."""
        self._service.on_rejected("", Status.UNAVAILABLE, reason)

    def handshakes_changed(self) -> None:
        """Part of the entrance's protocol with its server."""
        self._pulse()

    def opened(self, session: Session) -> bool:
        """Part of a session's protocol with its server."""
        if not self.has_room():
            return False
        self._sessions.add(session)
        if self._draining:
            # Accepted by the kernel before we stopped listening.
            self._unsettled += 1
            asyncio.get_running_loop().call_soon(session.drain)
        return True

    def settled(self, session: Session) -> None:
        """Part of a session's protocol with its server."""
        if self._draining:
            self._unsettled -= 1
            self._pulse()

    def closed(self, session: Session) -> None:
        """Part of a session's protocol with its server."""
        session.settle()
        self._sessions.discard(session)
        self._pulse()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._entrance is not None:
            self._entrance.close()

    def _cut_off(self) -> int:
        calls = self._in_flight.calls()
        cut_off = sum(not (call.ended or call.route.endless) for call in calls)
        self._refuse(calls)
        return cut_off

    def _refuse(self, calls: Iterable[Call]) -> None:
        refusal = Refusal(Status.UNAVAILABLE, Reason.SHUTDOWN, "the server is shutting down")
        for call in calls:
            call.refuse(refusal)

    @property
    def _handshakes(self) -> int:
        return 0 if self._entrance is None else len(self._entrance)

    def _quiet(self) -> bool:
        # A client in the middle of its handshake may have a call for us: it is asked to go elsewhere like the others.
        return not self._unsettled and not self._in_flight.awaited and not self._handshakes

    def _empty(self) -> bool:
        return not self._sessions and not self._in_flight and not self._handshakes

    def _pulse(self) -> None:
        self._changed.set()

    async def _until(self, reached: Callable[[], bool], instant: float) -> None:
        try:
            async with asyncio.timeout_at(instant):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
