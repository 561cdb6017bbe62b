"""Records in this process's memory: for tests, and for a server whose restart may forget what it created."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import TypeVar

from connectors._stores.record import Attention, Indexed, Record
from connectors._stores.rules import RecordStore, Rule
from connectors._stores.store import Payload

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

    Every operation takes constant time, and what is ordered by time the logarithm of its number. What is not forgotten
    by :meth:`expire` stays.
    """

    at_once = True
    together = 1

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        """:param clock: seconds since 1970; where None, the event loop's clock, which cannot be set back, begun at the
        wall clock's time.
        """
        self._clock = clock
        self._records: dict[str, tuple[Record, Indexed]] = {}  # the one that changed longest ago comes first
        # The keys of each job. Mostly it is one: a set around it takes 200 bytes, and the garbage collector walks it.
        self._jobs: dict[str, str | set[str]] = {}
        # Heaps. They may name records that have changed since, and payloads that were replaced since.
        self._waiting: dict[Attention, list[tuple[float, str]]] = {each: [] for each in Attention}
        self._payloads: dict[tuple[str, Payload], tuple[float, bytes]] = {}
        self._ends: list[tuple[float, str, Payload]] = []

    async def start(self) -> None:
        if self._clock is None:
            clock = asyncio.get_running_loop().time
            began = time.time() - clock()
            self._clock = lambda: began + clock()

    async def aclose(self) -> None:
        self._records.clear()
        self._jobs.clear()
        for heap in self._waiting.values():
            heap.clear()
        self._payloads.clear()
        self._ends.clear()

    async def now(self) -> float:
        return self._now()

    async def _change(self, key: str, rule: Rule[T], *, synced: bool = True) -> T:
        before = self._record(key)
        after, answer = rule(before, self._now())
        if after is not before:
            self._put(key, after)
        return answer

    def _record(self, key: str) -> Record | None:
        kept = self._records.get(key)
        return kept[0] if kept else None

    def _put(self, key: str, after: Record | None) -> None:
        _, was = self._records.pop(key, (None, None))
        new = after.indexed() if after else None
        is_moved = was is None or new is None or new.job != was.job
        if is_moved and was and was.job:
            self._leave_job(was.job, key)
        if after is None or new is None:
            return
        self._records[key] = after, new
        if is_moved and new.job:
            self._join_job(new.job, key)
        if new.attention is not Attention.NONE and (was is None or was[1:3] != new[1:3]):
            heapq.heappush(self._waiting[new.attention], (new.since, key))

    def _join_job(self, job: str, key: str) -> None:
        keys = self._jobs.get(job)
        if keys is None:
            self._jobs[job] = key
        elif isinstance(keys, str):
            self._jobs[job] = {keys, key}
        else:
            keys.add(key)

    def _leave_job(self, job: str, key: str) -> None:
        keys = self._jobs[job]
        if not isinstance(keys, str):
            keys.discard(key)
        if isinstance(keys, str) or not keys:
            del self._jobs[job]

    async def find(self, key: str) -> Record | None:
        return self._record(key)

    async def find_job(self, job: str) -> Record | None:
        keys = self._jobs.get(job, ())
        found = [self._records[key][0] for key in ((keys,) if isinstance(keys, str) else keys)]
        return max(found, key=lambda record: record.changed) if found else None

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        heap, until = self._waiting[attention], self._now() - older_than
        found: dict[str, Record] = {}
        entries = []
        while heap and heap[0][0] <= until and len(found) < limit:
            entry = heapq.heappop(heap)
            record, indexed = self._records.get(entry[1], (None, None))
            if record and indexed and indexed[1:3] == (attention, entry[0]) and entry[1] not in found:
                found[entry[1]] = record
                entries.append(entry)
        for entry in entries:
            heapq.heappush(heap, entry)
        return list(found.values())

    async def records(self) -> AsyncIterator[Record]:
        for record, _ in list(self._records.values()):
            if record.tracked:
                yield record

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
        aged = list(islice(self._aged(now, older_than), limit - forgotten))
        for record in aged:
            self._put(record.key, None)
        return forgotten + len(aged)

    def _expire_payloads(self, now: float, limit: int) -> int:
        forgotten = 0
        while forgotten < limit and self._ends and self._ends[0][0] <= now:
            end, key, kind = heapq.heappop(self._ends)
            if self._payloads.get((key, kind), (None, b""))[0] == end:
                del self._payloads[key, kind]
                forgotten += 1
        return forgotten

    def _aged(self, now: float, older_than: float) -> Iterator[Record]:
        for record, _ in self._records.values():
            if record.changed > now - older_than:
                return
            if record.lease_until <= now:
                yield record

    def _now(self) -> float:
        return (self._clock or time.time)()
