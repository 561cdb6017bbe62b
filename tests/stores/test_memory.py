"""What is true of the memory store alone: its clock, and that it keeps nothing of what is over."""

from __future__ import annotations

import asyncio
import time

import pytest

from connectors._stores import Attention, open_store
from connectors._stores.memory import MemoryStore
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.stores.conftest import Clock
from tests.stores.steps import make_job, make_unknown, reserve


def test_the_clock_goes_as_the_event_loops() -> None:
    async def run() -> tuple[bool, bool]:
        store = open_store("memory://")
        await store.start()
        await store.reserve("k", owner="a", lease=3_600.0, task_type="t")
        await asyncio.sleep(3_599.0)
        early = await store.reserve("k", owner="b", lease=1.0, task_type="t")
        await asyncio.sleep(1.5)
        late = await store.reserve("k", owner="b", lease=1.0, task_type="t")
        return early.mine, late.mine

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run()) == (False, True)


@pytest.mark.anyio
async def test_its_times_are_dates() -> None:
    before = time.time()
    store = MemoryStore()
    await store.start()
    assert before - 1 <= await store.now() <= time.time() + 1


@pytest.mark.anyio
async def test_what_was_forgotten_takes_no_memory_once_it_was_looked_for() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    await store.start()
    for n in range(50):
        await reserve(store, f"reserved{n}")
        await make_unknown(store, f"unknown{n}")
        await make_job(store, f"job{n}", b"%d" % n)
        await store.note(f"job{n}", polled=True)
        await store.note(f"job{n}", terminal="FAILED")
        await make_job(store, f"lost{n}")
        await store.note(f"lost{n}", delivered=False)
        await store.want_deletion(f"lost{n}", reason="aborted")
        await store.save(f"job{n}", "request", b"bytes", ttl=60)
        await store.save(f"job{n}", "request", b"other bytes", ttl=60)
        await store.drop(f"job{n}", "result")
        clock.advance(1)
    clock.advance(3_600)
    while await store.expire(older_than=60, limit=7) == 7:
        pass
    for attention in Attention:
        assert await store.waiting(attention, older_than=0, limit=1) == []
    holders = [value for value in vars(store).values() if isinstance(value, dict | list)]
    assert holders
    for holder in holders:
        # what is kept by attention has a list for each, which is empty
        kept = [value for value in holder.values() if value != []] if isinstance(holder, dict) else holder
        assert kept == []


@pytest.mark.anyio
async def test_it_awaits_nothing_as_it_says() -> None:
    store = MemoryStore()
    await store.start()
    assert store.at_once
    for call in (store.reserve("k", owner="a", lease=1.0, task_type="t"), store.find_job("j"), store.note("k")):
        with pytest.raises(StopIteration):
            call.send(None)
