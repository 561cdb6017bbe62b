"""How a key's record changes: pure rules, written once for every store that can apply one atomically.

A rule is given the key's row, or None, and the time on the store's clock. It returns the row to keep (None: none; the
same object: no change) and the answer to the caller. A store brings the atomicity, the clock and the disk; it decides
nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from connectors._stores.store import Claim, Record, State, Store

__all__ = ["RecordStore", "Row", "Rule"]

T = TypeVar("T")


class Row(NamedTuple):
    """A record as it is kept. Times are seconds on the store's clock."""

    key: str
    task_type: str
    fingerprint: str
    state: State
    owner: str
    """Who reserved the key last; kept afterwards, so that a repeated answer is recognised."""
    lease_until: float
    """0 unless RESERVED."""
    meta: bytes | None
    changed: float

    def record(self) -> Record:
        return Record(self.key, self.task_type, self.state, self.fingerprint, self.meta)

    def reserved_by(self, owner: str) -> bool:
        return self.state is State.RESERVED and self.owner == owner


Rule = Callable[[Row | None, float], tuple[Row | None, T]]


def _reserve(
    row: Row | None, now: float, *, key: str, owner: str, lease: float, task_type: str, fingerprint: str
) -> tuple[Row | None, Claim]:
    if row is None:
        new = Row(key, task_type, fingerprint, State.RESERVED, owner, now + lease, None, now)
        return new, Claim(new.record(), mine=True)
    held = row.state is State.RESERVED and row.lease_until > now and row.owner != owner
    if row.state is State.DONE or held:
        return row, Claim(row.record(), mine=False)
    taken = row._replace(state=State.RESERVED, owner=owner, lease_until=now + lease, changed=now)
    return taken, Claim(taken.record(), mine=True, looked_for=True)


def _renew(row: Row | None, now: float, *, owner: str, lease: float) -> tuple[Row | None, bool]:
    if row is None or not row.reserved_by(owner):
        return row, False
    return row._replace(lease_until=now + lease, changed=now), True


def _complete(row: Row | None, now: float, *, owner: str, meta: bytes) -> tuple[Row | None, bool]:
    if row is None or not row.reserved_by(owner):
        return row, row is not None and (row.state, row.owner, row.meta) == (State.DONE, owner, meta)
    return row._replace(state=State.DONE, lease_until=0.0, meta=meta, changed=now), True


def _mark_unknown(row: Row | None, now: float, *, owner: str) -> tuple[Row | None, bool]:
    if row is None or not row.reserved_by(owner):
        return row, row is not None and (row.state, row.owner) == (State.UNKNOWN, owner)
    return row._replace(state=State.UNKNOWN, lease_until=0.0, changed=now), True


def _release(row: Row | None, now: float, *, owner: str) -> tuple[Row | None, bool]:
    if row is None or not row.reserved_by(owner):
        return row, False
    return None, True


class RecordStore(Store):
    """A store whose records change by the rules above."""

    @abstractmethod
    async def _change(self, key: str, rule: Rule[T]) -> T:
        """Apply the rule to the key's row in one atomic step; its answer.

        The rule may be applied more than once, where a step has to be repeated.

        :raises StoreUnavailable: whether the row changed is not known.
        """

    async def reserve(self, key: str, *, owner: str, lease: float, task_type: str, fingerprint: str = "") -> Claim:
        return await self._change(
            key,
            partial(_reserve, key=key, owner=owner, lease=lease, task_type=task_type, fingerprint=fingerprint),
        )

    async def renew(self, key: str, *, owner: str, lease: float) -> bool:
        return await self._change(key, partial(_renew, owner=owner, lease=lease))

    async def complete(self, key: str, *, owner: str, meta: bytes) -> bool:
        return await self._change(key, partial(_complete, owner=owner, meta=meta))

    async def mark_unknown(self, key: str, *, owner: str) -> bool:
        return await self._change(key, partial(_mark_unknown, owner=owner))

    async def release(self, key: str, *, owner: str) -> bool:
        return await self._change(key, partial(_release, owner=owner))
