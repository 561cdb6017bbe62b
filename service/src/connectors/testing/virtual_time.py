"""An event loop whose clock jumps to the next timer instead of waiting for it: hours pass in no time, in order.

For a connector that waits, or whose tokens age. With anyio's plugin to pytest, a module's tests run on it where it has
this fixture; what reads the time must read the loop's (``asyncio.get_running_loop().time``), or take a clock::

    import pytest

    from connectors.testing.virtual_time import VirtualTimeLoop

    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="module")
    def anyio_backend() -> tuple[str, dict[str, object]]:
        return "asyncio", {"loop_factory": VirtualTimeLoop}

    async def test_a_token_is_fetched_again_after_an_hour(…) -> None:
        await asyncio.sleep(3600)  # which takes no time
        ...

It needs no pytest. It is not for tests whose other end is outside the loop: another process, or a thread that the loop
did not start, for which it would not wait.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

__all__ = ["VirtualTimeLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Selector(selectors.BaseSelector):
    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0
        self.in_threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.in_threads:
            return self._real.select(None)  # another thread will wake the loop
        self.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its clock begins at 0 seconds.

    Both ends of a socket may be on this loop. While the loop's own executors are at work (``asyncio.to_thread``,
    ``run_in_executor``), time stands still.
    """

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._virtual.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As every loop's; time stands still until it has ended."""
        ended = super().run_in_executor(executor, func, *args)
        self._virtual.in_threads += 1
        ended.add_done_callback(self._left_its_thread)
        return ended

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        with self.standing_still():  # threads end in real time, of which there is enough
            await super().shutdown_default_executor()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """While what is inside awaits another process, time stands still."""
        self._virtual.in_threads += 1
        try:
            yield
        finally:
            self._virtual.in_threads -= 1

    def _left_its_thread(self, _: asyncio.Future[Any]) -> None:
        self._virtual.in_threads -= 1
