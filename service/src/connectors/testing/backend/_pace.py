"""How many polls the backend has under way, and how many it begins in a second: over all its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Pace"]


class Pace:
    """A slow poll holds up every other task's once the workers are all at work."""

    def __init__(self, *, workers: int, per_second: float | None, burst: int) -> None:
        """:param per_second: None: as many as the workers can make."""
        self._workers = asyncio.Semaphore(workers)
        self._interval = 0.0 if per_second is None else 1 / per_second
        self._burst = burst
        self._next = -float("inf")

    @asynccontextmanager
    async def poll(self) -> AsyncIterator[None]:
        """One poll, when its turn has come."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - self._interval * self._burst) + self._interval
        if self._next > now:
            await asyncio.sleep(self._next - now)
        async with self._workers:
            yield
