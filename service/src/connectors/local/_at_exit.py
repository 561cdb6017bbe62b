"""Runs in a thread that the program does not wait for, as an SDK may have one: at Ctrl-C the main thread ends, and the
event loop with the run would end with it and leave the job behind.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["ended_with_the_program"]

_LOOK_EVERY = 0.1  # seconds between looks at whether an event loop still runs
_LEAVE_WITHIN = 5.0  # seconds for a run that does not wait for its deletion

_runs: dict[asyncio.Task[Any], tuple[asyncio.AbstractEventLoop, threading.Event]] = {}


@contextmanager
def ended_with_the_program() -> Iterator[None]:
    """While this is entered, a program that ends cancels the current task first, and waits for it; at Ctrl-C it cancels
    it once more, and goes.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs has one
    _register()
    over = threading.Event()
    _runs[task] = asyncio.get_running_loop(), over
    try:
        yield
    finally:
        del _runs[task]
        over.set()


@cache
def _register() -> None:
    atexit.register(_end)


def _end() -> None:
    left = dict(_runs)
    try:
        _cancel(left)
        _wait(left, until=float("inf"))  # how long a deletion may take is the run's own affair
    except KeyboardInterrupt:
        _cancel(left)
        _wait(left, until=time.monotonic() + _LEAVE_WITHIN)


def _cancel(runs: dict[asyncio.Task[Any], tuple[asyncio.AbstractEventLoop, threading.Event]]) -> None:
    for task, (loop, _) in runs.items():
        if loop.is_running():
            loop.call_soon_threadsafe(task.cancel)


def _wait(runs: dict[asyncio.Task[Any], tuple[asyncio.AbstractEventLoop, threading.Event]], *, until: float) -> None:
    for loop, over in runs.values():
        while loop.is_running() and time.monotonic() < until and not over.wait(_LOOK_EVERY):
            pass
