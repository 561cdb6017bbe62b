"""Waiting for what another task brings about, no longer than until an instant.

A future and a timer: a fifth of what ``asyncio.wait`` takes for the same, a third of what an event and a time-out do.
Every call waits like this two or three times.
"""

from __future__ import annotations

import asyncio

__all__ = ["Signal", "wake"]


class Signal:
    """Is given once; whoever waits for it goes on."""

    __slots__ = ("_waiters", "given")

    def __init__(self) -> None:
        self.given = False
        self._waiters: set[asyncio.Future[None]] = set()

    def give(self) -> None:
        """From now on nobody waits. A second time does nothing."""
        self.given = True
        for waiter in self._waiters:
            wake(waiter)

    async def wait(self, *, until: float | None = None) -> bool:
        """Whether it is given by ``until``, an instant on the event loop's clock; None is for ever."""
        if self.given:
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = None if until is None else loop.call_at(until, wake, waiter)
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()
        return self.given


def wake(waiter: asyncio.Future[None]) -> None:
    """Let whoever awaits the future go on, if it was not told to already."""
    if not waiter.done():
        waiter.set_result(None)
