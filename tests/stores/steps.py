"""What the tests of every store do again and again."""

from __future__ import annotations

import asyncio
from functools import partial

from connectors._stores import Attention, Claim, Delivery, Record, State, Store
from connectors._stores.rules import RecordStore
from connectors._stores.watched import WatchedStore

LEASE = 8.0
LONG = 3_600.0
SUBJECT = {"project": "p", "domain": "d", "node": "n0"}
END = 600.0
"""Seconds after a terminal phase was delivered, from which on the tests' records are over."""
UNTOLD = Record(
    "k", "bigquery", fingerprint="f", version=1, meta=b"job", tracked=True, subject=SUBJECT, delivery=Delivery.LOST
)
"""A job that was made while the store could not be told."""


async def reserve(store: Store, key: str = "k", owner: str = "a", lease: float = LEASE) -> Claim:
    return await store.reserve(
        key, owner=owner, lease=lease, task_type="bigquery", version=1, fingerprint="f", subject=SUBJECT
    )


async def replay(store: Store, over_after: float | None = END) -> Claim:
    """Another owner's reservation, by a create that a job's end makes a new run."""
    return await store.reserve("k", owner="b", lease=LEASE, task_type="bigquery", over_after=over_after)


async def make_job(store: Store, key: str = "k", meta: bytes = b"job") -> Record:
    """A job's record: reserved, and completed at once."""
    await reserve(store, key)
    assert await store.complete(key, owner="a", meta=meta)
    return await found(store, key)


async def make_unknown(store: Store, key: str = "k") -> Record:
    await reserve(store, key)
    assert await store.mark_unknown(key, owner="a")
    return await found(store, key)


async def found(store: Store, key: str = "k") -> Record:
    record = await store.find(key)
    assert record is not None
    return record


async def state(store: Store, key: str = "k") -> State | None:
    record = await store.find(key)
    return None if record is None else record.state


async def keys_waiting(store: Store, attention: Attention, older_than: float = 0.0, limit: int = 100) -> list[str]:
    return [record.key for record in await store.waiting(attention, older_than=older_than, limit=limit)]


async def put(store: Store, *records: Record) -> None:
    """Write records of different keys as they are, as another release may have done."""
    store = store._store if isinstance(store, WatchedStore) else store
    assert isinstance(store, RecordStore)
    for first in range(0, len(records), 50):  # so many at once that it does not take long
        part = records[first : first + 50]
        await asyncio.gather(*(store._change(record.key, partial(_instead, record)) for record in part))


def _instead(record: Record, before: Record | None, now: float) -> tuple[Record | None, None]:
    return record, None
