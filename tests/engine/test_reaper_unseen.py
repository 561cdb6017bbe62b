"""A server judges by nothing that it could not have seen: before its start, in an outage, on a clock that was set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from connectors import Unavailable
from connectors._engine.requests import Caller
from connectors._stores import Attention, Deletion, Record
from connectors._stores.memory import MemoryStore
from connectors._stores.watched import WatchedStore
from tests.engine.callers import job_of_attempt, raising, record_of
from tests.engine.harness import Bench, Job, job_request
from tests.engine.kept_jobs import ORPHAN, ROUND, UNPOLLED, operations
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio


async def test_a_server_judges_nothing_before_it_has_been_there_for_the_time_in_question(bench: Bench) -> None:
    async with bench.engine() as engine:
        await job_of_attempt(engine, heard=False)
        await anyio.sleep(1)
    await anyio.sleep(ORPHAN)
    async with bench.engine():
        await anyio.sleep(ORPHAN - 10)
        assert bench.acme.deletes == 0
        await anyio.sleep(10 + ROUND)
    assert bench.acme.deletes == 1


class SetClock(MemoryStore):
    """Its clock can be set."""

    ahead = 0.0

    def _now(self) -> float:
        return super()._now() + self.ahead


async def test_a_job_that_is_polled_is_not_judged_by_a_clock_that_was_set(bench: Bench) -> None:
    bench.store = store = SetClock()
    await store.start()
    async with bench.engine(cancel_unpolled=True) as engine:
        meta = await job_of_attempt(engine)
        for half_hour in range(20):
            await engine.get(job_request(meta))
            await anyio.sleep(1_000)
            store.ahead = 3 * 3_600.0 if half_hour >= 10 else 0.0
            await anyio.sleep(800)
    assert operations(bench) == []


@pytest.mark.parametrize("hours", [1, 3])
async def test_a_poll_has_its_time_to_come_once_the_clock_was_set(bench: Bench, hours: int) -> None:
    bench.store = store = SetClock()
    await store.start()
    async with bench.engine() as engine:
        await anyio.sleep(ORPHAN)
        meta = await job_of_attempt(engine, heard=False)
        await anyio.sleep(60)
        store.ahead = hours * 3_600.0
        await anyio.sleep(ORPHAN - 10)
        assert bench.acme.deletes == 0
        await engine.get(job_request(meta))
        await anyio.sleep(5 * ORPHAN)
    assert bench.acme.deletes == 0


class ClockSetInBetween(SetClock):
    """While it looks for what waits."""

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        if attention is Attention.IDLE:
            self.ahead = 3 * 3_600.0
        return await super().waiting(attention, older_than=older_than, limit=limit)


async def test_nothing_is_judged_by_a_clock_that_is_set_while_judging(bench: Bench) -> None:
    bench.store = ClockSetInBetween()
    await bench.store.start()
    async with bench.engine() as engine:
        for attempt in range(9):
            await job_of_attempt(engine, attempt)
            await anyio.sleep(UNPOLLED / 8)
        assert operations(bench) == []


@asynccontextmanager
async def watched(bench: Bench) -> AsyncIterator[UnreachableStore]:
    inner = UnreachableStore()
    bench.store = WatchedStore(inner)
    await bench.store.start()
    try:
        yield inner
    finally:
        await bench.store.aclose()


async def test_no_orphan_is_judged_across_an_outage_of_the_store(bench: Bench) -> None:
    async with watched(bench) as inner, bench.engine() as engine:
        meta = await job_of_attempt(engine, heard=False)
        await anyio.sleep(ORPHAN / 2)
        inner.down = True
        await engine.get(job_request(Job("other").encode()))
        await anyio.sleep(30)
        inner.down = False
        await anyio.sleep(ORPHAN - 20)
        assert bench.acme.deletes == 0
        await anyio.sleep(20 + ROUND)
        assert bench.acme.deletes == 1
        assert (await record_of(bench.store, meta)).deletion is Deletion.DONE


async def test_a_job_that_was_polled_during_an_outage_is_no_orphan_after_it(bench: Bench) -> None:
    async with watched(bench) as inner, bench.engine() as engine:
        meta = await job_of_attempt(engine, heard=False)
        await anyio.sleep(1)
        inner.down = True
        for _ in range(60):
            await engine.get(job_request(meta))
            await anyio.sleep(30)
        inner.down = False
        await anyio.sleep(5)
        await engine.get(job_request(meta))
        await anyio.sleep(3 * ORPHAN)
    assert bench.acme.deletes == 0


async def test_deletions_go_on_when_the_store_is_back(bench: Bench) -> None:
    async with watched(bench) as inner, bench.engine() as engine:
        meta = await job_of_attempt(engine)
        bench.acme.on_delete = raising(Unavailable())
        await engine.delete(job_request(meta, caller=Caller("flyte1", deadline=1.0)))
        inner.down = True
        bench.acme.on_delete = lambda ctx: None
        await anyio.sleep(300)
        inner.down = False
        await anyio.sleep(30)
        assert (await record_of(bench.store, meta)).deletion is Deletion.DONE
