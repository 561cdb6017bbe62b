"""From a new stream to a running handler: the checks, the route, the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from grpclib.protocol import AbstractHandler, Stream

from connectors._wire.status import Status
from connectors._wire.transport.buffers import Buffers, ConnectionBuffers
from connectors._wire.transport.call import Call, Route
from connectors._wire.transport.deadlines import Deadlines
from connectors._wire.transport.gate import Gate
from connectors._wire.transport.http2 import Http2
from connectors._wire.transport.lane import Lane, Line
from connectors._wire.transport.limits import EARLY_RESET_S, Limits
from connectors._wire.transport.outbound import Outbound
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.request import Headers, method_of, read_head


class InFlight:
    """The calls whose handlers run or are to run, over all connections. Every operation costs the same however many."""

    def __init__(self, on_quiet: Callable[[], None]) -> None:
        self._on_quiet = on_quiet
        self._calls: dict[Call, None] = {}
        self.awaited = 0
        """How many of them end by themselves: a drain waits for these."""

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """``call`` begins."""
        self._calls[call] = None
        self.awaited += not call.route.endless

    def discard(self, call: Call) -> None:
        """The handler of ``call`` has ended, or will never begin."""
        del self._calls[call]
        self.awaited -= not call.route.endless
        if not self.awaited:
            self._on_quiet()

    def calls(self) -> list[Call]:
        """The calls that run now."""
        return list(self._calls)


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one server share."""

    routes: Mapping[str, Route]
    limits: Limits
    in_flight: InFlight
    buffers: Buffers
    on_rejected: Callable[[str, Status, str], None]
    on_unhandled: Callable[[str, BaseException], str]
    deadlines: Deadlines = field(default_factory=Deadlines)


class Dispatcher(AbstractHandler):
    """Takes the streams of one connection from grpclib."""

    def __init__(
        self,
        service: Service,
        h2: Http2,
        connection: Line,
        *,
        gate: Gate,
        peer: str,
        on_ended: Callable[[], None],
    ) -> None:
        """:param on_ended: told each time when a call is over."""
        self._service = service
        self._on_ended = on_ended
        self._h2 = h2
        self._connection = connection
        self._gate = gate
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Call] = {}
        self._buffers = ConnectionBuffers(service.buffers)
        self.accepting = True
        """False once the last stream that this connection serves has been announced."""

    def accept(self, stream: Stream, headers: object, release_stream: Callable[[], None]) -> None:
        """Part of grpclib's protocol with its handlers; ours are given their streams by :meth:`begin`."""
        raise NotImplementedError

    def begin(self, lane: Lane, headers: Headers) -> None:
        """A request's headers arrived."""
        service = self._service
        outbound = Outbound(lane, self._h2, self._gate, self._buffers, service.limits.send_timeout)
        if not self.accepting:
            outbound.refuse_stream()
            lane.release()
            return
        try:
            head = read_head(headers, service.limits.max_header_list_bytes)
            route = service.routes.get(head.method)
            if route is None:
                raise Refusal(Status.UNIMPLEMENTED, Reason.UNKNOWN_METHOD, f"unknown method {head.method}")
            if head.timeout is not None and head.timeout <= 0:
                raise Refusal(Status.DEADLINE_EXCEEDED, Reason.DEADLINE, "the deadline had passed on arrival")
        except Refusal as refusal:
            outbound.fail(refusal.status, refusal.message, refusal.http_status)
            lane.release()
            service.on_rejected(method_of(headers), refusal.status, refusal.reason)
            return
        call = Call(
            head.method,
            headers,
            lane=lane,
            encoding=head.encoding,
            timeout=head.timeout,
            route=route,
            outbound=outbound,
            service=service,
            owner=self,
            buffers=self._buffers,
            peer=self._peer,
            loop=self._loop,
        )
        self._calls[lane.id] = call
        service.in_flight.add(call)
        call.start()

    def answered(self, call: Call, lane: Lane) -> None:
        """Part of a call's protocol with its owner."""
        del self._calls[lane.id]
        lane.release()
        self._on_ended()

    def left(self, call: Call) -> None:
        """Part of a call's protocol with its owner."""
        self._service.in_flight.discard(call)

    def cancel(self, stream: Stream) -> None:
        """The stream was reset: its call is cancelled, and no other. :raises Flood: there were too many such."""
        call = self._calls.get(cast(int, stream.id))
        if call is not None:
            call.abandon()
            if self._loop.time() - call.started < EARLY_RESET_S:
                self._gate.reset_early()

    def close(self) -> None:
        """The connection is gone, and every call on it."""
        for call in list(self._calls.values()):
            call.abandon()

    @property
    def awaited(self) -> bool:
        """Whether there are calls that end by themselves."""
        return any(not call.route.endless for call in self._calls.values())

    def refuse(self, refusal: Refusal) -> None:
        """Ends every call with a status."""
        for call in list(self._calls.values()):
            call.refuse(refusal)
