"""Records in this process's memory: for tests, and for a server whose restart may forget what it created."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from connectors._stores.records import RecordStore, Row, Rule
from connectors._stores.store import Payload, Record

__all__ = ["MemoryStore", "from_url"]

T = TypeVar("T")


def from_url(rest: str) -> MemoryStore:
    """The store for what follows ``memory://``, which is nothing.

    :raises ValueError: something follows.
    """
    if rest:
        raise ValueError("a memory store has no address: memory:// is the whole URL")
    return MemoryStore()


class MemoryStore(RecordStore):
    """Not shared, not kept. No method awaits anything, so each is atomic on the event loop.

    Every operation takes constant time, and saving a payload the logarithm of their number. What is not forgotten by
    :meth:`expire` stays.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        """:param clock: seconds; the running event loop's where None."""
        self._clock = clock
        self._rows: dict[str, Row] = {}  # the one that changed longest ago comes first
        self._payloads: dict[tuple[str, Payload], tuple[float, bytes]] = {}
        self._ends: list[tuple[float, str, Payload]] = []  # a heap; may name payloads that were replaced since

    async def start(self) -> None:
        self._clock = self._clock or asyncio.get_running_loop().time

    async def aclose(self) -> None:
        self._rows.clear()
        self._payloads.clear()
        self._ends.clear()

    async def _change(self, key: str, rule: Rule[T]) -> T:
        before = self._rows.get(key)
        after, answer = rule(before, self._now())
        if after is not before:
            self._rows.pop(key, None)
            if after is not None:
                self._rows[key] = after
        return answer

    async def find(self, key: str) -> Record | None:
        row = self._rows.get(key)
        return row and row.record()

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        end = self._now() + ttl
        self._payloads[key, kind] = (end, data)
        heapq.heappush(self._ends, (end, key, kind))

    async def load(self, key: str, kind: Payload) -> bytes | None:
        end, data = self._payloads.get((key, kind), (0.0, None))
        return data if end > self._now() else None

    async def expire(self, *, older_than: float, limit: int = 1_000) -> int:
        now = self._now()
        forgotten = self._expire_payloads(now, limit)
        aged = islice(self._aged(now, older_than), limit - forgotten)
        for key in list(aged):
            del self._rows[key]
            forgotten += 1
        return forgotten

    def _expire_payloads(self, now: float, limit: int) -> int:
        forgotten = 0
        while forgotten < limit and self._ends and self._ends[0][0] <= now:
            end, key, kind = heapq.heappop(self._ends)
            if self._payloads.get((key, kind), (None, b""))[0] == end:
                del self._payloads[key, kind]
                forgotten += 1
        return forgotten

    def _aged(self, now: float, older_than: float) -> Iterator[str]:
        for key, row in self._rows.items():
            if row.changed > now - older_than:
                return
            if row.lease_until <= now:
                yield key

    def _now(self) -> float:
        return (self._clock or asyncio.get_running_loop().time)()
