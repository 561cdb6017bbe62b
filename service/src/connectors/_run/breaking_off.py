"""A run in a process that people and schedulers end: at SIGINT and SIGTERM its job is deleted first."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["BrokenOff", "carry_out"]

T = TypeVar("T")


class BrokenOff(Exception):
    """A signal ended the run. ``code`` is the exit code that says so."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def carry_out(run: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result. Each signal cancels it once more: the first one ends the run, which may take a while,
    the second one ends that.

    :raises BrokenOff: a signal came.
    """
    came: list[int] = []

    async def listening() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(run)

        def stop(number: int) -> None:
            came.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        return await task

    try:
        return asyncio.run(listening())
    except asyncio.CancelledError:
        if came:
            raise BrokenOff(came[0]) from None
        raise
