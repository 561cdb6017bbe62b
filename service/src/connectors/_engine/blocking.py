"""Connector methods that are a plain ``def``: run in a bounded thread pool of that connector's own, never on the event
loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from connectors.connector import is_blocking

__all__ = ["BlockingPools"]

T = TypeVar("T")


class BlockingPools:
    """One pool per connector. A call whose caller is gone keeps its thread until the method returns: that is what
    bounds it.
    """

    def __init__(self, threads: Callable[[str], int]) -> None:
        self._threads = threads
        self._pools: dict[str, ThreadPoolExecutor] = {}

    async def call(self, task_type: str, method: Callable[..., T | Awaitable[T]], *args: Any, **options: Any) -> T:
        """Await an ``async def``; run a plain ``def`` in the pool of its task type."""
        if not is_blocking(method):
            return await cast("Awaitable[T]", method(*args, **options))
        pool = self._pools.get(task_type)
        if pool is None:
            pool = self._pools[task_type] = ThreadPoolExecutor(
                self._threads(task_type), thread_name_prefix=f"connector-{task_type}"
            )
        run = contextvars.copy_context().run

        def settled() -> tuple[Any, BaseException | None]:
            try:
                return run(method, *args, **options), None
            except BaseException as error:  # noqa: BLE001 - a future does not take every kind: not StopIteration
                return None, error

        answer, error = await asyncio.get_running_loop().run_in_executor(pool, settled)
        if error is not None:
            raise error
        # a def that returns a coroutine (a decorated async def, say) is awaited here
        return cast("T", await answer if isinstance(answer, Awaitable) else answer)

    def close(self) -> None:
        """Take no more calls; those that run are left to end."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
