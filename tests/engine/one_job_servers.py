"""What the machine of :mod:`tests.engine.one_job_machine` plays with: servers that can be killed, and their store."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from connectors._engine.engine import Engine
from connectors._stores import Store, StoreUnavailable
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.engine.harness import Bench
from tests.engine.job_platform import JobConnector

Clock = Callable[[], float]
Stores = Callable[[Clock], AbstractAsyncContextManager[Store]]
"""Opens a store that is empty, on a clock."""

RETENTION = 7 * 86_400.0


class Link:
    """One server's way to the store: time stands still while the store is at work, and the link can be cut."""

    def __init__(self, store: Store, loop: VirtualTimeLoop) -> None:
        self._store = store
        self._loop = loop
        self.cut = False

    def as_store(self) -> Store:
        return cast("Store", self)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if not inspect.iscoroutinefunction(member):
            return member

        async def call(*args: Any, **options: Any) -> Any:
            if self.cut:
                raise StoreUnavailable
            with self._loop.standing_still():
                return await member(*args, **options)

        return call


class Server:
    """An engine in a task of its own, which can be killed."""

    def __init__(self, store: Store, connector: JobConnector, loop: VirtualTimeLoop) -> None:
        self.link = Link(store, loop)
        self.engine: Engine
        self._connector = connector
        self._started: asyncio.Future[None] = loop.create_future()
        self._task = loop.create_task(self._serve())

    async def _serve(self) -> None:
        bench = Bench(store=self.link.as_store(), extra=(self._connector,))
        # it goes round less often than by default: most of the time that passes here is waiting
        async with bench.engine(store_retention=RETENTION, reap_every=20.0) as self.engine:
            self._started.set_result(None)
            await asyncio.Event().wait()

    async def started(self) -> None:
        await _first(self._started, self._task)

    async def kill(self) -> None:
        """As by SIGKILL: what it was about to write is not written."""
        self.link.cut = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


class OpenedStore:
    """A store that is opened and closed in one and the same task."""

    def __init__(self, context: AbstractAsyncContextManager[Store]) -> None:
        self._context = context
        self._done = asyncio.Event()

    async def open(self) -> Store:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Store] = loop.create_future()
        self._task = loop.create_task(self._hold(opened))
        await _first(opened, self._task)
        return opened.result()

    async def _hold(self, opened: asyncio.Future[Store]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        stack = contextlib.AsyncExitStack()
        with loop.standing_still():
            store = await stack.enter_async_context(self._context)
        opened.set_result(store)
        await self._done.wait()
        with loop.standing_still():
            await stack.aclose()

    async def close(self) -> None:
        self._done.set()
        await self._task


async def _first(ready: asyncio.Future[Any], task: asyncio.Task[None]) -> None:
    """Wait for what the task makes ready, or for the error that it ends with instead."""
    both: set[asyncio.Future[Any]] = {ready, task}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
