"""Work that belongs to the server and not to a call: it goes on when its caller gives up, and its answer is there for
the repeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from connectors._engine.outcome import bug
from connectors._engine.waiting import Signal
from connectors._engine.work import Work
from connectors.errors import ConnectorError, DeadlineExceeded, Unavailable

__all__ = ["Flight", "Flights"]

T = TypeVar("T")
log = logging.getLogger("connectors.engine")


class Flight(Generic[T]):
    """One key's work under way, and those who wait for it."""

    def __init__(self, key: str, fingerprint: str) -> None:
        self.key = key
        self.fingerprint = fingerprint
        """Of the request, where its caller chose the key; else ""."""
        self.started = asyncio.get_running_loop().time()
        """The instant, on the event loop's clock, when the work began."""
        self.wanted_until = self.started
        """The latest instant, on the event loop's clock, until which a caller waits: no new try starts after it."""
        self.attempts = 0
        self.repeated = False
        """Whether the answer is that of an earlier create."""
        self.mismatch = False
        """Whether that create's request differed from this one, though their key was derived from the same identity."""
        self.waiting = 0
        """How many callers wait for the answer."""
        self._begun = Signal()
        self._done = Signal()
        self._answer: T | None = None
        self._error: ConnectorError | None = None

    async def wait(self, *, until: float) -> T:
        """The answer, or the error, that everyone who waits is given.

        :raises DeadlineExceeded: it did not come by ``until``; the work goes on.
        """
        self.wanted_until = max(self.wanted_until, until)
        self.waiting += 1
        try:
            in_time = await self._done.wait(until=until)
        finally:
            self.waiting -= 1
        if not in_time:
            raise DeadlineExceeded("no answer in time; the call goes on, and the same request again gets its answer")
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]

    def begin(self) -> None:
        """The work is under way for good: those who only wait for its beginning go on."""
        self._begun.give()

    async def wait_begun(self, *, until: float) -> T | None:
        """Wait until the work is under way, or over; its answer, where it is over.

        :raises DeadlineExceeded: neither by ``until``; the work goes on.
        """
        if not await self._begun.wait(until=until):
            raise DeadlineExceeded("the call could not be started in time; send the same request again")
        if self._error is not None:
            raise self._error
        return self._answer

    async def wait_ended(self) -> None:
        """Wait until it is over, whatever comes of it."""
        await self._done.wait()

    @property
    def answer(self) -> T | None:
        """What came of it; None while it is under way, and where it failed."""
        return self._answer

    def end(self, answer: T | None, error: ConnectorError | None) -> None:
        """Give everyone who waits their answer."""
        self._answer, self._error = answer, error
        self._begun.give()
        self._done.give()


class Flights(Generic[T]):
    """The work under way, by key. Each has a task of asyncio's own: one of a task group's costs 25 µs more, and what
    that would see to is here in any case.
    """

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}
        self._tasks: dict[Flight[T], asyncio.Task[None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def get(self, key: str) -> Flight[T] | None:
        """The key's work, where there is any."""
        return self._flights.get(key)

    def start(self, work: Work, operation: str, carry_out: Callable[[Flight[T]], Awaitable[T]]) -> Flight[T]:
        """Start work under a key that has none: look with :meth:`get` first, and await nothing in between.

        :raises ValueError: it has some; what goes on is left as it is.
        """
        key = work.key
        if key in self._flights:
            raise ValueError(f"work is under way under {key}")
        flight = self._flights[key] = Flight(key, work.fingerprint)
        self._idle.clear()
        task = self._tasks[flight] = asyncio.get_running_loop().create_task(
            self._fly(flight, work, operation, carry_out), name="flight"
        )
        task.add_done_callback(partial(self._landed, flight, work))
        return flight

    async def _fly(
        self,
        flight: Flight[T],
        work: Work,
        operation: str,
        carry_out: Callable[[Flight[T]], Awaitable[T]],
    ) -> None:
        answer: T | None = None
        error: ConnectorError | None = _stopped()
        try:
            with work.slot:
                answer, error = await carry_out(flight), None
        except ConnectorError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - whatever it is, those who wait are told, and the log has it
            error = bug(work.task_type, operation, raised)
        finally:
            self._end(flight, answer, error)

    def _landed(self, flight: Flight[T], work: Work, task: asyncio.Task[None]) -> None:
        del self._tasks[flight]
        if self._flights.get(flight.key) is flight:  # it was cancelled before its first step
            work.slot.release()
            self._end(flight, None, _stopped())

    def _end(self, flight: Flight[T], answer: T | None, error: ConnectorError | None) -> None:
        del self._flights[flight.key]
        flight.end(answer, error)
        if not self._flights:
            self._idle.set()

    async def cancel(self, key: str) -> None:
        """End the key's work, where there is any; returns when it has ended."""
        flight = self._flights.get(key)
        if flight is not None:
            self._tasks[flight].cancel()
            await flight.wait_ended()

    async def join(self) -> None:
        """Wait until nothing is under way."""
        while self._flights:
            await self._idle.wait()

    async def aclose(self) -> None:
        """End all of it; returns when it has ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def __len__(self) -> int:
        return len(self._flights)


def _stopped() -> ConnectorError:
    return Unavailable("the server stopped before the call ended; send the same request again")
