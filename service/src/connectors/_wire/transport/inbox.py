"""The receiving half of one stream: DATA in, whole messages out, flow control between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from grpclib.protocol import Buffer

from connectors._wire.status import Status
from connectors._wire.transport.buffers import ConnectionBuffers
from connectors._wire.transport.framing import MessageReader, only_message
from connectors._wire.transport.lane import Lane
from connectors._wire.transport.limits import MESSAGE_OVERHEAD_BYTES
from connectors._wire.transport.refusal import Reason, Refusal


class CallEnded(Exception):
    """The call is over: it was answered, its deadline passed, or the caller is gone."""


class Inbox(Buffer):
    """Takes the place of grpclib's buffer, which holds any amount and cannot tell a cut message from a whole one.

    grpclib calls ``add``, ``eof`` and ``unacked_size``. A unary request (``single``) is handed over once the caller has
    half-closed, so that its handler never starts on a request that turns out to be malformed.
    """

    __slots__ = (
        "_buffers",
        "_closed",
        "_count",
        "_counted",
        "_encoding",
        "_ended",
        "_endless",
        "_held",
        "_lane",
        "_loop",
        "_max_bytes",
        "_messages",
        "_only",
        "_queued_bytes",
        "_reader",
        "_refuse",
        "_single",
        "_started",
        "_taken_bytes",
        "_timeout",
        "_waiter",
        "_whole",
    )

    def __init__(
        self,
        lane: Lane,
        *,
        single: bool,
        endless: bool,
        max_bytes: int,
        encoding: str,
        whole: Callable[[], None],
        refuse: Callable[[Refusal], None],
        timeout: float,
        buffers: ConnectionBuffers,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """:param lane: the stream that this is a half of.
        :param max_bytes: of one message. :param encoding: the request's, `identity` or `gzip`.
        :param whole: told once, when the caller has half-closed. :param refuse: ends the call.
        :param timeout: how many seconds from now a handler may wait for messages; for each anew where the call is
            ``endless``.
        :param buffers: counts what is held here.
        """
        # grpclib's own constructor makes a queue for each stream, which nothing here would use.
        self._lane = lane
        self._single = single
        self._endless = endless
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._whole = whole
        self._refuse = refuse
        self._timeout = timeout
        self._loop = loop
        self._started = loop.time()
        self._buffers = buffers
        self._only: bytes | None = None
        self._reader: MessageReader | None = None
        self._messages: deque[bytes] | None = None
        self._count = 0
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._counted = False
        self._held = 0
        self._ended = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def incomplete(self) -> bool:
        """True while the handler can do nothing until more of the request arrives."""
        waits = self._waiter is not None and not self._waiter.done()
        return not self._closed and not self._ended and (self._single or waits)

    def last(self, data: bytes) -> bool:
        """DATA arrived that ends the stream. True where it is the whole of an ordinary unary request, which is then
        handed over with no more ado: nothing is counted, and the caller has still to be given the window back. False
        where ``add`` and ``eof`` have to take it.
        """
        if not self._single or self._reader is not None or self._closed or self._ended:
            return False
        self._only = only_message(data, self._max_bytes)
        if self._only is None:
            return False
        self._ended = True
        self._whole()
        return True

    def add(self, data: bytes, ack_size: int) -> None:
        """DATA arrived; ``ack_size`` is what it took of the flow-control windows, padding included."""
        if self._closed:
            self._lane.acknowledge(ack_size)
            return
        if self._reader is None or self._messages is None:
            self._reader, self._messages = MessageReader(self._max_bytes, self._encoding), deque()
        try:
            messages = self._reader.feed(data)
            self._count += len(messages)
            if self._single and self._count > 1:
                raise _cardinality("this method takes one request message, and more than one was sent")
        except Refusal as refusal:
            self._lane.acknowledge(ack_size)
            self._refuse(refusal)
            return
        self._messages.extend(messages)
        self._queued_bytes += sum(map(_cost, messages))
        self._count_bytes()
        if self._closed:  # there was no room for it
            self._lane.acknowledge(ack_size)
            return
        # Messages that wait for their handler hold the window, so a fast caller is slowed down to its pace. A message
        # in progress must not: messages of many streams share one window and would wait for each other for ever.
        if self._messages and not self._single:
            self._held += ack_size
            self._wake()
        else:
            self._lane.acknowledge(ack_size)

    def eof(self) -> None:
        """The caller half-closed."""
        if self._closed:
            return
        try:
            if self._reader is not None:
                self._reader.end()
            if self._single and self._count == 0:
                raise _cardinality("this method takes one request message, and none was sent")
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._ended = True
        self._whole()
        self._wake()

    async def receive(self) -> bytes | None:
        """The next message, None once the caller has half-closed and every message was taken.

        :raises CallEnded: what the handler keeps while it waits is more than there is room for.
        """
        if self._only is not None:
            only, self._only = self._only, None
            return only
        while not self._ended and (self._single or not self._messages):
            if self._waiter is not None:
                raise RuntimeError("two tasks receive on one call")
            self._waiter = self._loop.create_future()
            self._count_bytes()
            if self._closed:
                raise CallEnded
            since = self._loop.time() if self._endless else self._started
            timer = self._loop.call_at(since + self._timeout, self.late)
            try:
                await self._waiter
            finally:
                self._waiter = None
                timer.cancel()
        self._taken_bytes = 0
        if not self._messages:
            self._count_bytes()
            return None
        message = self._messages.popleft()
        self._taken_bytes = _cost(message)
        self._queued_bytes -= self._taken_bytes
        self._count_bytes()
        if not self._messages:
            self._lane.acknowledge(self.unacked_size())
        return message

    def unacked_size(self) -> int:
        """The window still held, in bytes; it is given back by whoever asks."""
        held, self._held = self._held, 0
        return held

    def close(self) -> None:
        """The call is over: what still arrives is dropped."""
        self._closed = True
        self._only = self._messages = self._reader = None
        if self._counted:
            self._buffers.hold(self._refuse, 0)
        self._refuse, self._whole = _nobody, _nothing  # so that the call is gone without the garbage collector

    def late(self) -> None:
        """The time for the request, or for the next of its messages, is over: where it has not come, the call ends."""
        if self.incomplete:
            what = "the next message" if self._endless else "the request"
            message = f"{what} did not arrive whole within {self._timeout:g} s"
            self._refuse(Refusal(Status.DEADLINE_EXCEEDED, Reason.SLOW_REQUEST, message))

    def _count_bytes(self) -> None:
        if self._closed:
            return
        held = self._queued_bytes + (0 if self._reader is None else self._reader.pending)
        if self._waiter is not None:
            # A handler that waits for the next message has kept the last one; what it does with both is its own affair.
            held += self._taken_bytes
        if held or self._counted:
            self._counted = True
            self._buffers.hold(self._refuse, held)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _cost(message: bytes) -> int:
    return len(message) + MESSAGE_OVERHEAD_BYTES


def _cardinality(message: str) -> Refusal:
    return Refusal(Status.UNIMPLEMENTED, Reason.CARDINALITY, message)


def _nobody(_refusal: Refusal) -> None:
    """Refuses a call that is over."""


def _nothing() -> None:
    """Begins a call that is over."""
