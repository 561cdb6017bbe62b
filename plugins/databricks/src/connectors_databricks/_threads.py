"""Threads for calls that block and know no end of their own: daemons, so that none of them keeps the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from connectors import Unavailable

__all__ = ["Threads"]

T = TypeVar("T")


class Threads:
    """A thread for each call, so many at once."""

    def __init__(self, name: str, *, most: int) -> None:
        """:param most: how many may run at once; a call that was given up counts until it ends."""
        self._name = name
        self._most = most
        self._running = 0

    async def run(self, call: Callable[[], T]) -> T:
        """What ``call`` returns or raises. Cancelling leaves its thread to itself.

        :raises Unavailable: too many run already.
        """
        if self._running >= self._most:
            raise Unavailable(f"{self._most} calls are under way already in {self._name}, and none of them ends")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def deliver(result: T | None, error: BaseException | None) -> None:
            self._running -= 1
            if outcome.done():
                return
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - it is raised again, where it is waited for
                error = raised
            try:
                loop.call_soon_threadsafe(deliver, result, error)
            except RuntimeError:
                return  # the loop has ended: nobody waits any more

        self._running += 1
        threading.Thread(target=work, name=self._name, daemon=True).start()
        return await outcome
