"""Jobs as they lie in a store, for a server to look after; and what it did about them."""

from __future__ import annotations

from collections.abc import Mapping

from connectors._stores import Record, State, Store, job_of
from tests.engine.harness import Bench, Job

__all__ = ["META", "ORPHAN", "ROUND", "UNPOLLED", "found", "hold", "operations"]

META = Job("j1").encode()
ORPHAN, UNPOLLED = 600.0, 7_200.0
ROUND = 50.0  # seconds within which every server has judged once


async def hold(
    store: Store, meta: bytes = META, *, task_type: str = "acme", subject: Mapping[str, str] | None = None
) -> str:
    """Write down a job; its key."""
    key = f"key-{job_of(task_type, 0, meta)[:8]}"
    made = Record(key, task_type, State.DONE, tracked=True, meta=meta, subject=subject or {})
    await store.remember(made)
    return key


async def found(store: Store, key: str) -> Record:
    record = await store.find(key)
    assert record is not None
    return record


def operations(bench: Bench) -> list[str]:
    return [event.operation for event in bench.events if event.operation not in {"create", "get", "delete"}]
