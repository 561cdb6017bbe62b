"""From a new stream to a running handler: the checks, the route, the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from grpclib.protocol import AbstractHandler, Connection, Stream
from h2.connection import H2Connection

from connectors._wire.status import Status
from connectors._wire.transport.buffers import Buffers, ConnectionBuffers
from connectors._wire.transport.call import Call, Route
from connectors._wire.transport.framing import MessageReader
from connectors._wire.transport.gate import Gate
from connectors._wire.transport.inbox import Inbox
from connectors._wire.transport.limits import EARLY_RESET_S, Limits
from connectors._wire.transport.outbound import Outbound, Unread
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.request import Headers, method_of, read_head


class InFlight:
    """The calls whose handlers run, over all connections. Every operation costs the same however many there are."""

    def __init__(self, on_quiet: Callable[[], None]) -> None:
        self._on_quiet = on_quiet
        self._calls: dict[Call, asyncio.Task[None]] = {}
        self.awaited = 0
        """How many of them end by themselves: a drain waits for these."""

    def __len__(self) -> int:
        return len(self._calls)

    def run(self, call: Call) -> None:
        """Starts ``call`` and forgets it when its task is done, whichever way that comes about."""
        task = call.start()
        self._calls[call] = task
        self.awaited += not call.route.endless
        task.add_done_callback(partial(self._done, call))

    def calls(self) -> list[Call]:
        """The calls that run now."""
        return list(self._calls)

    def _done(self, call: Call, _task: asyncio.Task[None]) -> None:
        del self._calls[call]
        self.awaited -= not call.route.endless
        if not self.awaited:
            self._on_quiet()


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one server share."""

    routes: Mapping[str, Route]
    limits: Limits
    in_flight: InFlight
    buffers: Buffers
    on_rejected: Callable[[str, Status, str], None]
    on_unhandled: Callable[[str, BaseException], str]


class Dispatcher(AbstractHandler):
    """Takes the streams of one connection from grpclib."""

    def __init__(
        self,
        service: Service,
        h2: H2Connection,
        connection: Connection,
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
        self._calls: dict[int, Call] = {}
        self._buffers = ConnectionBuffers(service.buffers)
        self.accepting = True
        """False once the last stream that this connection serves has been announced."""

    def accept(self, stream: Stream, headers: list[tuple[str, str]], release_stream: Callable[[], None]) -> None:
        """A request's headers arrived."""
        self._accept(stream, cast(Headers, headers), release_stream)  # bytes: the session turned decoding off

    def _accept(self, stream: Stream, headers: Headers, release_stream: Callable[[], None]) -> None:
        outbound = Outbound(stream, self._h2, self._gate)
        if not self.accepting:
            outbound.refuse_stream()
            release_stream()
            return
        try:
            call = self._call(stream, headers, release_stream, outbound)
        except Refusal as refusal:
            outbound.fail(refusal.status, refusal.message, refusal.http_status)
            release_stream()
            self._service.on_rejected(method_of(headers), refusal.status, refusal.reason)
            return
        self._service.in_flight.run(call)

    def cancel(self, stream: Stream) -> None:
        """The stream was reset: its call is cancelled, and no other. :raises Flood: there were too many such."""
        call = self._calls.get(cast(int, stream.id))
        if call is not None:
            call.abandon()
            if asyncio.get_running_loop().time() - call.started < EARLY_RESET_S:
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

    def _call(self, stream: Stream, headers: Headers, release_stream: Callable[[], None], outbound: Outbound) -> Call:
        service = self._service
        head = read_head(headers, service.limits.max_header_list_bytes)
        route = service.routes.get(head.method)
        if route is None:
            raise Refusal(Status.UNIMPLEMENTED, Reason.UNKNOWN_METHOD, f"unknown method {head.method}")
        deadline = None
        if head.timeout is not None:
            if head.timeout <= 0:
                raise Refusal(Status.DEADLINE_EXCEEDED, Reason.DEADLINE, "the deadline had passed on arrival")
            deadline = asyncio.get_running_loop().time() + head.timeout
        stream_id = cast(int, stream.id)

        def closing() -> None:
            del self._calls[stream_id]
            release_stream()
            self._on_ended()

        def refuse(refusal: Refusal) -> None:
            call.refuse(refusal)

        def unread(refusal: Refusal) -> None:
            call.refuse(refusal)

        outbound.unread = Unread(self._buffers, unread, service.limits.send_timeout)
        inbox = Inbox(
            MessageReader(service.limits.max_message_bytes, head.encoding),
            single=not route.client_streaming,
            acknowledge=partial(self._acknowledge, stream_id),
            refuse=refuse,
            timeout=None if route.endless and route.client_streaming else service.limits.receive_timeout,
            buffers=self._buffers,
        )
        # grpclib hands the stream's DATA to whatever stands here, from the next event on.
        stream.buffer = inbox
        call = Call(
            method=head.method,
            peer=self._peer,
            deadline=deadline,
            headers=headers,
            route=route,
            inbox=inbox,
            outbound=outbound,
            closing=closing,
            on_rejected=service.on_rejected,
            on_unhandled=service.on_unhandled,
        )
        self._calls[stream_id] = call
        return call

    def _acknowledge(self, stream_id: int, size: int) -> None:
        if not self._connection.is_closing():
            self._connection.ack(stream_id, size)
