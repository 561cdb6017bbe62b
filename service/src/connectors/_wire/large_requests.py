"""Large requests are read beside the event loop, one after another in one thread.

Megabytes of small literals take seconds, which every other call would wait for. A second thread would only share the
interpreter's lock with the first, and slow the loop down by another turn. It is a daemon: no request is worth staying
alive for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar, cast

from connectors._messages.decoding import parse
from connectors._wire.rejection import reading

__all__ = ["LARGE", "parsed", "read"]

LARGE = 32 * 1024
"""Bytes from which on a request is read in the thread. As many bytes of the smallest fields take about 25 ms."""

T = TypeVar("T")
_Queue: TypeAlias = "SimpleQueue[tuple[Future[Any], Callable[[], Any]]]"


async def read(size: int, function: Callable[[], T]) -> T:
    """What ``function`` makes of a request, its errors as :func:`~connectors._wire.rejection.reading` has them.

    A call that is cancelled leaves the queue; if its turn has come, the thread finishes it for nobody.

    :param size: of the request, in bytes.
    """
    with reading():
        if size < LARGE:
            return function()
        future: Future[Any] = Future()
        _queue().put((future, function))
        return cast("T", await asyncio.wrap_future(future))


async def parsed(cls: type[T], data: bytes) -> T:
    """The message that a request holds."""
    return await read(len(data), lambda: parse(cls, data))


@cache
def _queue() -> _Queue:
    """The thread's queue; the thread starts with the first large request."""
    queue: _Queue = SimpleQueue()
    threading.Thread(target=_work, args=(queue,), name="large-requests", daemon=True).start()
    return queue


def _work(queue: _Queue) -> None:
    while True:
        _settle(*queue.get())


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - it is the caller's, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)
