"""Stores in a PostgreSQL database, as the tests of that store alone use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connectors._stores import Claim
from connectors._stores.postgresql import PostgresStore

__all__ = ["SLOW", "create", "opened", "reserve"]

SLOW = 30
"""Seconds: what is not about time-outs is not to fail for a machine that is busy."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    """A patient store."""
    store = PostgresStore(url, timeout=SLOW)
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


async def reserve(store: PostgresStore, key: str, owner: str = "a") -> Claim:
    return await store.reserve(key, owner=owner, lease=60.0, task_type="bigquery", subject={"project": "p"})


async def create(store: PostgresStore, key: str) -> None:
    assert (await reserve(store, key)).mine
    assert await store.complete(key, owner="a", meta=key.encode())
