"""One RPC, from its headers to its trailers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from connectors._wire.status import Status, StatusError
from connectors._wire.transport.buffers import ConnectionBuffers
from connectors._wire.transport.deadlines import Deadlines, Timer
from connectors._wire.transport.inbox import CallEnded, Inbox
from connectors._wire.transport.lane import Lane
from connectors._wire.transport.limits import Limits
from connectors._wire.transport.outbound import Outbound
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.request import Headers, read_metadata


@dataclass(frozen=True, slots=True)
class Route:
    """How one method is served.

    The handler may raise :class:`StatusError`; anything else it raises is answered INTERNAL. Its task is cancelled when
    the deadline passes or the caller goes away, so what must finish belongs in a task of its own.
    """

    handler: Callable[[Call], Awaitable[None]]
    client_streaming: bool = False
    server_streaming: bool = False
    endless: bool = False
    """True for calls that never end by themselves, such as a health watch: a drain does not wait for them, and if
    their requests are streams, the time that a request has to arrive in begins anew with each message."""


def unary(handler: Callable[[Call, bytes], Awaitable[bytes]]) -> Route:
    """A route that takes one message and answers with one."""

    async def run(call: Call) -> None:
        # Never None: the transport refuses a unary request that has no message.
        request = cast(bytes, await call.receive())
        await call.send(await handler(call, request))

    return Route(run)


class CallService(Protocol):
    """What all calls of a server share."""

    @property
    def limits(self) -> Limits:
        """What callers may send, and how slowly."""

    @property
    def deadlines(self) -> Deadlines:
        """Watches the calls' deadlines."""

    @property
    def on_rejected(self) -> Callable[[str, Status, str], None]:
        """Told of each call that the transport ended by itself: its method, status and reason."""

    @property
    def on_unhandled(self) -> Callable[[str, BaseException], str]:
        """Told of an error that a handler let out; gives the text that the caller gets."""


class CallOwner(Protocol):
    """What a call tells whoever began it."""

    def answered(self, call: Call, lane: Lane) -> None:
        """The call is over for its caller; its handler may still run."""

    def left(self, call: Call) -> None:
        """The call's handler has ended, or will never begin."""


class Call:
    """One RPC as its handler sees it. The transport alone makes these."""

    method: str
    """The path, `/package.Service/Method`."""
    peer: str
    """The caller's address, `127.0.0.1:5000` or `[::1]:5000`."""
    deadline: float | None
    """The instant of the event loop's clock when the caller gives up, None when it did not say."""

    __slots__ = (
        "_answer",
        "_answered",
        "_began",
        "_ended",
        "_headers",
        "_inbox",
        "_lane",
        "_loop",
        "_metadata",
        "_on_answered",
        "_outbound",
        "_owner",
        "_sending",
        "_service",
        "_task",
        "deadline",
        "method",
        "peer",
        "route",
        "started",
        "timer",
    )

    def __init__(
        self,
        method: str,
        headers: Headers,
        *,
        lane: Lane,
        encoding: str,
        timeout: float | None,
        route: Route,
        outbound: Outbound,
        service: CallService,
        owner: CallOwner,
        buffers: ConnectionBuffers,
        peer: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.started = loop.time()
        self.method = method
        self.peer = peer
        self.deadline = None if timeout is None else self.started + timeout
        self.route = route
        self.timer: Timer | None = None
        self._headers = headers
        self._lane = lane
        self._outbound = outbound
        self._service = service
        self._owner = owner
        self._loop = loop
        self._metadata: tuple[Mapping[str, str], frozenset[str]] | None = None
        self._answer: bytes | None = None
        self._sending = False
        self._ended = False
        self._answered = False
        self._began = False
        self._on_answered: list[Callable[[bool], None]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._inbox = Inbox(
            lane,
            single=not route.client_streaming,
            endless=route.endless,
            max_bytes=service.limits.max_message_bytes,
            encoding=encoding,
            whole=self._whole,
            refuse=self.refuse,
            timeout=service.limits.receive_timeout,
            buffers=buffers,
            loop=loop,
        )
        # grpclib hands the stream's DATA to whatever stands here, from the next event on.
        lane.buffer = self._inbox
        outbound.refuse = self.refuse_unread

    @property
    def headers(self) -> Headers:
        """The request's headers as they came."""
        return self._headers

    def describe(self, *, initial: Headers = (), trailing: Headers = ()) -> None:
        """Have metadata written with the answer: ``initial`` before its first message, where that is still to come,
        ``trailing`` beside a status that is OK. Another status brings its own, by :class:`StatusError`. Once the call
        has ended nothing is written any more, and this does nothing.
        """
        self._outbound.initial = [*self._outbound.initial, *initial]
        self._outbound.trailing = [*self._outbound.trailing, *trailing]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The caller's metadata: names in lower case, repeated ones joined with a comma, `-bin` names left out."""
        return self._read_metadata[0]

    @property
    def undecodable(self) -> frozenset[str]:
        """The names of metadata that came with a value that is not printable ASCII; ``metadata`` is without it."""
        return self._read_metadata[1]

    @property
    def _read_metadata(self) -> tuple[Mapping[str, str], frozenset[str]]:
        if self._metadata is None:
            self._metadata = read_metadata(self._headers)
        return self._metadata

    @property
    def ended(self) -> bool:
        """True once the answer has been written, or nobody is there to take one."""
        return self._ended

    def on_answered(self, callback: Callable[[bool], None]) -> None:
        """Have ``callback`` told once, on the event loop, how the call ended: True when an answer that is OK was
        written whole before the deadline, to a caller that was still there. False when nobody can have had one: the
        deadline passed, the caller or its connection is gone, or a failure was written instead. Where the call has
        ended already, it is told of that end, in the loop's next turn.
        """
        if self._ended:
            self._loop.call_soon(callback, self._answered)
        elif self._on_answered is None:
            self._on_answered = [callback]
        else:
            self._on_answered.append(callback)

    async def receive(self) -> bytes | None:
        """The next message; None once the caller has half-closed. :raises CallEnded: the call is over."""
        if self._ended:
            raise CallEnded(self.method)
        return await self._inbox.receive()

    async def send(self, message: bytes) -> None:
        """Sends one message. A unary answer leaves when the handler returns, together with its status.

        :raises CallEnded: the call is over.
        :raises RuntimeError: a second message of a unary answer, or two tasks send at once.
        """
        if self._ended:
            raise CallEnded(self.method)
        if not self.route.server_streaming:
            if self._answer is not None:
                raise RuntimeError("a unary call was answered twice")
            self._answer = message
            return
        if self._sending:
            raise RuntimeError("two tasks send on one call")
        self._sending = True
        try:
            await self._outbound.send(message)
        finally:
            self._sending = False

    # What follows is for the transport.

    @property
    def incomplete(self) -> bool:
        """True while the handler can do nothing until more of the request arrives."""
        return self._inbox.incomplete

    def start(self) -> None:
        """The headers have come. The handler of a unary request begins when that is there: it could only wait."""
        if self.route.client_streaming:
            self._begin()
        self._watch()

    def due(self) -> None:
        """The deadline has passed, or the time for a request to arrive in."""
        self.timer = None
        now = self._loop.time()  # which may be half a millisecond before what was asked for: uvloop rounds
        if self.deadline is not None and now >= self.deadline:
            self.refuse(Refusal(Status.DEADLINE_EXCEEDED, Reason.DEADLINE, "the deadline passed before the answer"))
        elif self._task is None and now >= self.started + self._service.limits.receive_timeout:
            self._inbox.late()
        if not self._ended:
            self._watch()

    def _watch(self) -> None:
        due = self.deadline
        if self._task is None:
            patience = self.started + self._service.limits.receive_timeout
            due = patience if due is None or patience < due else due
        if due is not None:
            self._service.deadlines.watch(self, due, self._loop)

    def refuse(self, refusal: Refusal) -> None:
        """Ends the call with a status of the transport's own."""
        if not self._ended:
            self._fail(refusal.status, refusal.message)
            self._service.on_rejected(self.method, refusal.status, refusal.reason)

    def refuse_unread(self, refusal: Refusal) -> None:
        """The same for an answer that is not read: what a call holds of it is counted apart from its request."""
        self.refuse(refusal)

    def abandon(self) -> None:
        """The caller is gone: nothing is written."""
        self._end()

    def _whole(self) -> None:
        if self._task is None and not self._ended:
            self._begin()

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        self._began = True
        try:
            await self.route.handler(self)
            if self._ended:
                return
            if self.route.server_streaming:
                self._outbound.end()
            elif self._answer is None:
                raise RuntimeError("the handler returned without an answer")
            elif not self._outbound.send_at_once(self._answer):
                await self._outbound.send_only(self._answer)
            in_time = self.deadline is None or self._loop.time() < self.deadline
            self._end(answered=self._outbound.written and in_time)
        except StatusError as error:
            self._fail(error.status, error.message, error.trailers)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._ended or (task is not None and task.cancelling()):
                raise
            # Nobody cancelled this call: the handler awaited something that was cancelled under it.
            self._fail(Status.INTERNAL, self._service.on_unhandled(self.method, error))
        except Exception as error:  # noqa: BLE001 - whatever a handler lets out, its caller gets an answer
            if not self._ended:
                self._fail(Status.INTERNAL, self._service.on_unhandled(self.method, error))
        finally:
            # Reached open only when the loop itself is being torn down, or the callback above raised.
            self._fail(Status.UNAVAILABLE, "the call was interrupted")
            self._owner.left(self)

    def _fail(self, status: Status, message: str, trailers: Headers | None = None) -> None:
        if not self._ended:
            self._outbound.fail(status, message, trailers=trailers)
            self._end()

    def _end(self, *, answered: bool = False) -> None:
        if self._ended:
            return
        self._ended, self._answered = True, answered
        self._service.deadlines.forget(self, self._loop)
        self._inbox.close()
        self._outbound.refuse = None
        self._owner.answered(self, self._lane)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        if not self._began:
            self._owner.left(self)
        # not called from here: what a callback does or raises must not reach into the connection's own work
        for callback in self._on_answered or ():
            self._loop.call_soon(callback, answered)
        self._on_answered = None
