"""One thread for what would hold the event loop for long: large requests and answers are read and written there, one
after another.

Megabytes of small literals take seconds, which every other call would wait for. A second thread would only share the
interpreter's lock with the first, and slow the loop down by another turn. It is a daemon: nothing in it is worth
staying alive for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

__all__ = ["LARGE", "beside_the_loop"]

LARGE = 32 * 1024
"""Bytes from which on a message belongs in the thread. As many bytes of the smallest fields take about 25 ms."""

P = ParamSpec("P")
T = TypeVar("T")


async def beside_the_loop(function: Callable[[], T]) -> T:
    """What ``function`` returns, or raises, in the thread.

    A caller that is cancelled leaves the queue; if its turn has come, the thread finishes it for nobody.
    """
    return await asyncio.get_running_loop().run_in_executor(_thread(), function)


class _DaemonThread(Executor):
    """One thread, which does not keep the process alive."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        threading.Thread(target=self._work, name="beside-the-loop", daemon=True).start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._queue.put((future, partial(fn, *args, **kwargs)))
        return future

    def _work(self) -> None:
        while True:
            _settle(*self._queue.get())


@cache
def _thread() -> _DaemonThread:
    """The thread: it starts when it is first needed."""
    return _DaemonThread()


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - it is the caller's, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)
