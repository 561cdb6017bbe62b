"""Waiting for a store that is out of reach: no longer than it is, and no longer than was asked for."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from connectors._engine.options import EngineOptions
from connectors._engine.reservation import Reservations
from connectors._stores import StoreUnavailable
from connectors._stores.watched import WatchedStore
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> UnreachableStore:
    return UnreachableStore()


async def waited(store: UnreachableStore, *, within: float) -> float:
    """How long it took, on the event loop's clock."""
    watched = WatchedStore(store)
    await watched.start()
    if store.down:
        with pytest.raises(StoreUnavailable):
            await watched.find("k")
    loop = asyncio.get_running_loop()
    loop.call_later(3.0, setattr, store, "down", False)
    async with anyio.create_task_group() as tasks:
        start = loop.time()
        await Reservations(watched, tasks, EngineOptions()).store_back(within=within)
    took = loop.time() - start
    await watched.aclose()
    return took


async def test_it_ends_as_soon_as_the_store_is_found_back(store: UnreachableStore) -> None:
    store.down = True
    assert 3.0 <= await waited(store, within=60.0) < 5.0


async def test_it_ends_after_its_time_where_the_store_is_not_found_back(store: UnreachableStore) -> None:
    store.down = True
    assert await waited(store, within=2.0) == pytest.approx(2.0)


async def test_while_the_store_seems_to_be_in_reach_it_lasts_as_long_as_was_asked_for(store: UnreachableStore) -> None:
    assert await waited(store, within=2.0) == pytest.approx(2.0)
