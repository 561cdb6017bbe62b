"""Values that cost something to ask for, kept for a short time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["FreshValues"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass
class _Asking(Generic[V]):
    task: asyncio.Task[V]
    waiting: int = 0


class FreshValues(Generic[K, V]):
    """Keeps each value for a while, and asks once for all who ask at the same time. An error is not kept."""

    def __init__(
        self, lifetime: Callable[[V], float], *, most: int = 1_024, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """:param lifetime: seconds that a value may be given again. :param most: values; the oldest is let go first.
        :param clock: in seconds.
        """
        self._lifetime = lifetime
        self._most = most
        self._clock = clock
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._asking: dict[K, _Asking[V]] = {}

    async def get(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The value that is kept, or what ``ask`` returns. It is cancelled once nobody waits for it any more."""
        kept = self._values.get(key)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = _Asking(asyncio.create_task(ask()))
        asking.waiting += 1
        try:
            value = await asyncio.shield(asking.task)
        finally:
            asking.waiting -= 1
            if asking.waiting == 0:
                asking.task.cancel()  # of no effect where it is done
                if self._asking.get(key) is asking:
                    del self._asking[key]
        self._keep(key, value)
        return value

    def forget(self, key: K) -> None:
        """Ask anew next time."""
        self._values.pop(key, None)

    def _keep(self, key: K, value: V) -> None:
        self._values[key] = (self._clock() + self._lifetime(value), value)
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
