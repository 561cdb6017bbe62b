"""Connector methods that are a plain ``def``: run in a bounded thread pool of that connector's own, never on the event
loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

from connectors.connector import is_blocking

__all__ = ["BlockingPools", "ThreadUse"]

T = TypeVar("T")


_is_blocking_function = lru_cache(1_024)(is_blocking)  # to find out takes longer than many a call


def _is_blocking(method: Any) -> bool:
    function = getattr(method, "__func__", None)
    return is_blocking(method) if function is None else _is_blocking_function(function)


class ThreadUse(NamedTuple):
    """How far a pool is taken."""

    busy: int
    """Threads that run a call."""
    waiting: int
    """Calls that wait for a thread."""
    limit: int
    """Threads that there may be."""


class _Pool:
    def __init__(self, task_type: str, threads: int) -> None:
        self.threads = threads
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix=f"connector-{task_type}")
        self._calls: set[Future[Any]] = set()  # one operation on a set is atomic, also between threads

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future = self.executor.submit(call)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def use(self) -> ThreadUse:
        calls = len(self._calls)
        return ThreadUse(min(calls, self.threads), max(0, calls - self.threads), self.threads)


class BlockingPools:
    """One pool per connector. A call whose caller is gone keeps its thread until the method returns: that is what
    bounds it.
    """

    def __init__(self, threads: Callable[[str], int]) -> None:
        self._threads = threads
        self._pools: dict[str, _Pool] = {}

    async def call(self, task_type: str, method: Callable[..., T | Awaitable[T]], *args: Any, **options: Any) -> T:
        """Await an ``async def``; run a plain ``def`` in the pool of its task type."""
        if not _is_blocking(method):
            return await cast("Awaitable[T]", method(*args, **options))
        pool = self._pools.get(task_type)
        if pool is None:
            pool = self._pools[task_type] = _Pool(task_type, self._threads(task_type))
        run = contextvars.copy_context().run

        def settled() -> tuple[Any, BaseException | None]:
            try:
                return run(method, *args, **options), None
            except BaseException as error:  # noqa: BLE001 - a future does not take every kind: not StopIteration
                return None, error

        answer, error = await asyncio.wrap_future(pool.submit(settled))
        if error is not None:
            raise error
        # a def that returns a coroutine (a decorated async def, say) is awaited here
        return cast("T", await answer if isinstance(answer, Awaitable) else answer)

    @property
    def use(self) -> dict[str, ThreadUse]:
        """How far each pool is taken, by task type. There is one where a blocking method has been called."""
        return {task_type: pool.use() for task_type, pool in self._pools.items()}

    def close(self) -> None:
        """Take no more calls; those that run are left to end."""
        for pool in self._pools.values():
            pool.executor.shutdown(wait=False, cancel_futures=True)
