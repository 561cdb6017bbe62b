"""A store that can be out of reach: the fault that the stores' own tests make with real servers, on a virtual clock."""

from __future__ import annotations

from typing import TypeVar

from connectors._stores import Payload, Record, StoreUnavailable
from connectors._stores.memory import MemoryStore
from connectors._stores.rules import Rule

T = TypeVar("T")


class UnreachableStore(MemoryStore):
    """Keeps what it has while it is ``down``."""

    at_once, together = False, 16
    down = False

    async def _change(self, key: str, rule: Rule[T], *, synced: bool = True) -> T:
        self._reach()
        return await super()._change(key, rule, synced=synced)

    async def find(self, key: str) -> Record | None:
        self._reach()
        return await super().find(key)

    async def find_job(self, job: str) -> Record | None:
        self._reach()
        return await super().find_job(job)

    async def now(self) -> float:
        self._reach()
        return await super().now()

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        self._reach()
        await super().save(key, kind, data, ttl=ttl)

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailable
