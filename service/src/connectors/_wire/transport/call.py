"""One RPC, from its headers to its trailers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from connectors._wire.status import Status, StatusError
from connectors._wire.transport.inbox import CallEnded, Inbox
from connectors._wire.transport.outbound import Outbound
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.request import Headers, text_metadata, undecodable_metadata


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
    their requests are streams, those may take as long as they like."""


def unary(handler: Callable[[Call, bytes], Awaitable[bytes]]) -> Route:
    """A route that takes one message and answers with one."""

    async def run(call: Call) -> None:
        # Never None: the transport refuses a unary request that has no message.
        request = cast(bytes, await call.receive())
        await call.send(await handler(call, request))

    return Route(run)


class Call:
    """One RPC as its handler sees it. The transport alone makes these."""

    method: str
    """The path, `/package.Service/Method`."""
    peer: str
    """The caller's address, `127.0.0.1:5000` or `[::1]:5000`."""
    deadline: float | None
    """The instant of the event loop's clock when the caller gives up, None when it did not say."""

    def __init__(
        self,
        *,
        method: str,
        peer: str,
        deadline: float | None,
        headers: Headers,
        route: Route,
        inbox: Inbox,
        outbound: Outbound,
        closing: Callable[[], None],
        on_rejected: Callable[[str, Status, str], None],
        on_unhandled: Callable[[str, BaseException], str],
    ) -> None:
        self.method = method
        self.peer = peer
        self.deadline = deadline
        self.route = route
        self._headers = headers
        self._inbox = inbox
        self._outbound = outbound
        self._closing = closing
        self._on_rejected = on_rejected
        self._on_unhandled = on_unhandled
        self.started = 0.0
        self._answer: bytes | None = None
        self._sending = False
        self._ended = False
        self._answered = False
        self._on_answered: list[Callable[[bool], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def headers(self) -> Headers:
        """The request's headers as they came."""
        return self._headers

    def describe(self, *, initial: Headers = (), trailing: Headers = ()) -> None:
        """Have metadata written with the answer: ``initial`` before its first message, where that is still to come,
        ``trailing`` beside a status that is OK. Another status brings its own, by :class:`StatusError`.
        """
        self._outbound.initial = [*self._outbound.initial, *initial]
        self._outbound.trailing = [*self._outbound.trailing, *trailing]

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """The caller's metadata: names in lower case, repeated ones joined with a comma, `-bin` names left out."""
        return text_metadata(self._headers)

    @cached_property
    def undecodable(self) -> frozenset[str]:
        """The names of metadata that came with a value that is not printable ASCII; ``metadata`` is without it."""
        return undecodable_metadata(self._headers)

    @property
    def ended(self) -> bool:
        """True once the answer has been written, or nobody is there to take one."""
        return self._ended

    def on_answered(self, callback: Callable[[bool], None]) -> None:
        """Have ``callback`` told once, on the event loop, how the call ended: True when an answer that is OK was
        written whole before the deadline, to a caller that was still there. False when nobody can have had one: the
        deadline passed, the caller or its connection is gone, or a failure was written instead.
        """
        if self._ended:
            asyncio.get_running_loop().call_soon(callback, self._answered)
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

    def start(self) -> asyncio.Task[None]:
        """Runs the handler in a task of its own."""
        loop = asyncio.get_running_loop()
        self.started = loop.time()
        if self.deadline is not None:
            self._timer = loop.call_at(self.deadline, self._expire)
        self._task = loop.create_task(self._run())
        return self._task

    def refuse(self, refusal: Refusal) -> None:
        """Ends the call with a status of the transport's own."""
        if not self._ended:
            self._fail(refusal.status, refusal.message)
            self._on_rejected(self.method, refusal.status, refusal.reason)

    def abandon(self) -> None:
        """The caller is gone: nothing is written."""
        self._end()

    async def _run(self) -> None:
        try:
            await self.route.handler(self)
            if self._ended:
                return
            if self.route.server_streaming:
                self._outbound.end()
            elif self._answer is not None:
                await self._outbound.send_only(self._answer)
            else:
                raise RuntimeError("the handler returned without an answer")
            in_time = self.deadline is None or asyncio.get_running_loop().time() < self.deadline
            self._end(answered=self._outbound.written and in_time)
        except StatusError as error:
            self._fail(error.status, error.message, error.trailers)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._ended or (task is not None and task.cancelling()):
                raise
            # Nobody cancelled this call: the handler awaited something that was cancelled under it.
            self._fail(Status.INTERNAL, self._on_unhandled(self.method, error))
        except Exception as error:  # noqa: BLE001 - whatever a handler lets out, its caller gets an answer
            if not self._ended:
                self._fail(Status.INTERNAL, self._on_unhandled(self.method, error))
        finally:
            # Reached open only when the loop itself is being torn down, or the callback above raised.
            self._fail(Status.UNAVAILABLE, "the call was interrupted")

    def _expire(self) -> None:
        self.refuse(Refusal(Status.DEADLINE_EXCEEDED, Reason.DEADLINE, "the deadline passed before the answer"))

    def _fail(self, status: Status, message: str, trailers: Headers | None = None) -> None:
        if not self._ended:
            self._outbound.fail(status, message, trailers=trailers)
            self._end()

    def _end(self, *, answered: bool = False) -> None:
        if self._ended:
            return
        self._ended, self._answered = True, answered
        if self._timer is not None:
            self._timer.cancel()
        self._inbox.close()
        self._closing()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        # not called from here: what a callback does or raises must not reach into the connection's own work
        for callback in self._on_answered:
            asyncio.get_running_loop().call_soon(callback, answered)
        self._on_answered.clear()
