"""What nobody asks for any more: answers that reached nobody, jobs and creates that are left alone."""

from __future__ import annotations

import anyio
import pytest

from connectors import DeadlineExceeded, Unavailable
from connectors._engine.options import ConnectorLimits
from connectors._stores import Attention, Deletion, Record
from connectors._stores.memory import MemoryStore
from tests.engine.callers import job_of_attempt, raising, record_of
from tests.engine.harness import Bench, job_request
from tests.engine.kept_jobs import ORPHAN, ROUND, UNPOLLED, found, hold, operations

pytestmark = pytest.mark.anyio

ONE_TRY = ConnectorLimits(attempts=1)


# --- answers that reached nobody


async def test_a_job_whose_answer_reached_nobody_is_cancelled_in_its_time(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine, heard=False)
        await anyio.sleep(ORPHAN - 10)
        assert bench.acme.deletes == 0
        await anyio.sleep(10 + ROUND)
        record = await record_of(bench.store, meta)
    assert bench.acme.deletes == 1
    assert (record.deletion, record.reason) == (Deletion.DONE, "its answer reached nobody and no poll came")
    assert operations(bench) == ["reap_lost", "reap"]
    assert any(
        record.levelname == "WARNING" and "project proj" in record.message and "execution ex1" in record.message
        for record in caplog.records
    )


async def test_a_poll_saves_a_job_whose_answer_seemed_lost(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine, heard=False)
        await anyio.sleep(ORPHAN - 10)
        await engine.get(job_request(meta))
        await anyio.sleep(3 * ORPHAN)
    assert bench.acme.deletes == 0


class PolledInBetween(MemoryStore):
    """A poll comes just after a record was found to be LOST."""

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        found = await super().waiting(attention, older_than=older_than, limit=limit)
        for record in found if attention is Attention.LOST else ():
            await self.note(record.key, polled=True)
        return found


async def test_a_poll_that_comes_while_its_job_is_judged_saves_it(bench: Bench) -> None:
    bench.store = PolledInBetween()
    await bench.store.start()
    async with bench.engine() as engine:
        await job_of_attempt(engine, heard=False)
        await anyio.sleep(3 * ORPHAN)
    assert bench.acme.deletes == 0


class SlowToNote(MemoryStore):
    """Takes its time to write that a poll came."""

    async def note(
        self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = ""
    ) -> Record | None:
        await anyio.sleep(120 if polled else 0)
        return await super().note(key, delivered=delivered, polled=polled, terminal=terminal)


async def test_a_poll_that_is_still_to_be_written_down_saves_its_job(bench: Bench) -> None:
    bench.store = SlowToNote()
    await bench.store.start()
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine, heard=False)
        await anyio.sleep(ORPHAN - 10)
        await engine.get(job_request(meta))
        await anyio.sleep(3 * ORPHAN)
    assert bench.acme.deletes == 0


async def test_a_job_of_which_it_is_not_known_whether_its_answer_arrived_is_not_cancelled(bench: Bench) -> None:
    await hold(bench.store)
    async with bench.engine():
        await anyio.sleep(5 * UNPOLLED)
    assert bench.acme.deletes == 0


async def test_a_job_whose_answer_arrived_is_not_cancelled(bench: Bench) -> None:
    async with bench.engine() as engine:
        await job_of_attempt(engine, heard=True)
        await anyio.sleep(5 * UNPOLLED)
    assert bench.acme.deletes == 0


# --- jobs that are left alone


@pytest.mark.parametrize("polls", [0, 1])
async def test_a_job_that_is_not_polled_is_reported_once_with_its_owner(
    bench: Bench, polls: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.engine() as engine, bench.engine():
        meta = await job_of_attempt(engine)
        for _ in range(polls):
            await engine.get(job_request(meta))
        await anyio.sleep(UNPOLLED - 60)
        assert operations(bench) == []
        await anyio.sleep(UNPOLLED)
        record = await record_of(bench.store, meta)
    assert (record.set_aside, record.deletion, record.reason) == (True, Deletion.NONE, "not polled for 2 h: reported")
    assert operations(bench) == ["report_idle"]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert all(word in line for word in (record.key, "acme", "project proj", "execution ex1", "node n0"))
    assert bench.acme.deletes == 0


async def test_a_job_that_is_polled_again_after_it_was_reported_is_watched_again(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        for _ in range(2):
            await anyio.sleep(UNPOLLED + 60)
            await engine.get(job_request(meta))
            await anyio.sleep(1)
            assert not (await record_of(bench.store, meta)).set_aside
    assert operations(bench) == ["report_idle"] * 2


async def test_by_setting_a_job_that_is_not_polled_is_cancelled(bench: Bench) -> None:
    async with bench.engine(cancel_unpolled=True) as engine:
        meta = await job_of_attempt(engine)
        await anyio.sleep(UNPOLLED + ROUND)
        record = await record_of(bench.store, meta)
    assert (record.deletion, record.reason) == (Deletion.DONE, "not polled for 2 h")
    assert operations(bench) == ["reap_idle", "reap"]


async def test_a_job_that_is_polled_is_not_reported(bench: Bench) -> None:
    async with bench.engine(cancel_unpolled=True) as engine:
        meta = await job_of_attempt(engine)
        for _ in range(5):
            await anyio.sleep(3_600)  # the longest that backends leave between two polls
            await engine.get(job_request(meta))
    assert bench.acme.deletes == 0


async def test_a_short_setting_does_not_outdo_what_is_known_of_polls(bench: Bench) -> None:
    async with bench.engine(cancel_unpolled=True, unpolled_after=60.0) as engine:
        meta = await job_of_attempt(engine)
        for _ in range(3 * 60):
            await anyio.sleep(60)
            await engine.get(job_request(meta))
    assert bench.acme.deletes == 0


async def test_a_job_that_ended_is_not_reported(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await bench.store.note((await record_of(bench.store, meta)).key, terminal="SUCCEEDED")
        await anyio.sleep(2 * UNPOLLED)
    assert operations(bench) == []


async def test_a_create_whose_outcome_nobody_asked_for_again_is_reported_once(bench: Bench) -> None:
    bench.acme.on_create = raising(Unavailable())
    async with bench.engine(limits=ONE_TRY) as engine:
        with pytest.raises(Unavailable):
            await job_of_attempt(engine)
        await anyio.sleep(ORPHAN - 10)
        assert operations(bench) == []
        await anyio.sleep(2 * ORPHAN)
    assert operations(bench) == ["report_unknown"]
    assert (await found(bench.store, bench.acme.keys[0])).set_aside
    assert bench.acme.deletes == 0


async def test_a_create_that_goes_on_is_not_reported(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(7_000)
    async with bench.engine(create_timeout=8_000) as engine:
        with pytest.raises(DeadlineExceeded):
            await job_of_attempt(engine)
        await anyio.sleep(5_000)
        assert operations(bench) == []


async def test_where_orphans_are_to_be_found_soon_they_are_looked_for_as_often(bench: Bench) -> None:
    key = await hold(bench.store)
    await bench.store.note(key, delivered=False)
    async with bench.engine(orphan_after=2.0):
        await anyio.sleep(2.0 + 2 * 6.25 + 1.0)
    assert (await found(bench.store, key)).deletion is Deletion.DONE
