"""Whether the event loop runs."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Heartbeat"]

_INTERVAL = 0.01  # seconds


class Heartbeat:
    """Beats on the running loop while its context lasts."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds between two beats, at the most."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)  # it has begun
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await asyncio.sleep(_INTERVAL)  # a block at the very end is counted too
            self._task.cancel()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(_INTERVAL)
            now = loop.time()
            self.longest, last = max(self.longest, now - last), now
