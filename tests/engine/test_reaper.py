"""What nobody asks for any more: deletions that are due, answers that reached nobody, jobs that are left alone. Nothing
is judged by what this server could not have seen."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from connectors import Context, DeadlineExceeded, InvalidRequest, NotFound, PermissionDenied, Unavailable
from connectors._engine.options import ConnectorLimits
from connectors._engine.requests import Caller
from connectors._stores import Attention, Deletion, Record, State, Store, job_of
from connectors._stores.memory import MemoryStore
from connectors._stores.watched import WatchedStore
from tests.engine.callers import job_of_attempt, raising, record_of
from tests.engine.harness import Acme, Bench, Job, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio

META = Job("j1").encode()
ORPHAN, UNPOLLED = 600.0, 7_200.0
ROUND = 50.0  # seconds within which every server has judged once
ONE_TRY = ConnectorLimits(attempts=1)


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


# --- deletions that are due


async def test_a_deletion_that_is_wanted_is_carried_out_within_seconds(bench: Bench) -> None:
    key = await hold(bench.store)
    async with bench.engine():
        await bench.store.want_deletion(key, reason="by a person")
        await anyio.sleep(7)
    assert bench.acme.deletes == 1
    assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_a_deletion_is_one_event_of_its_task_type_and_key(bench: Bench) -> None:
    key = await hold(bench.store, subject={"protocol": "flyte2"})
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
    (event,) = bench.events
    assert (event.operation, event.task_type, event.status, event.key, event.protocol, event.attempts) == (
        "reap",
        "acme",
        "OK",
        key,
        "flyte2",
        1,
    )


async def test_a_deletion_has_the_protocol_and_the_prefix_of_its_create_and_no_caller_s_secret(bench: Bench) -> None:
    seen: list[Context] = []
    bench.acme.on_delete = seen.append
    key = await hold(bench.store, subject={"protocol": "flyte2", "output_prefix": "s3://b/p"})
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
        assert await seen[0].secrets.find("connection") is None
    assert (seen[0].protocol, seen[0].output_prefix) == ("flyte2", "s3://b/p")


async def test_a_job_that_is_missing_is_deleted(bench: Bench) -> None:
    bench.acme.on_delete = raising(NotFound())
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
    assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_a_deletion_that_fails_is_tried_again_after_a_growing_pause(bench: Bench) -> None:
    tries: list[float] = []

    def fail(ctx: Context) -> None:
        tries.append(anyio.current_time())
        raise Unavailable

    bench.acme.on_delete = fail
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine(limits=ONE_TRY):
        await anyio.sleep(3_600)
        assert (await found(bench.store, key)).deletion is Deletion.WANTED
        bench.acme.on_delete = lambda ctx: None
        await anyio.sleep(620)
        assert (await found(bench.store, key)).deletion is Deletion.DONE
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses[:6] == [pytest.approx(pause, abs=7) for pause in (63, 123, 243, 483, 603, 603)]


async def test_a_deletion_is_given_up_after_a_week(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.acme.on_delete = raising(PermissionDenied("HTTP 403"))
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    caplog.set_level(logging.CRITICAL)
    async with bench.engine(limits=ONE_TRY, reap_every=60.0):
        await anyio.sleep(6.5 * 86_400)
        assert (await found(bench.store, key)).attention() is Attention.DELETE
        await anyio.sleep(2 * 86_400)
        record = await found(bench.store, key)
    assert record.is_over
    assert "HTTP 403" in record.reason


async def test_a_deletion_that_will_never_be_possible_is_given_up_at_once(bench: Bench) -> None:
    bench.acme.on_delete = raising(InvalidRequest("not our host"))
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(86_400)
    record = await found(bench.store, key)
    assert bench.acme.deletes == 1
    assert (record.is_over, record.reason) == (True, "could not be cancelled: not our host")


@pytest.mark.parametrize("state", [State.RESERVED, State.UNKNOWN])
async def test_a_job_that_is_not_known_yet_is_cancelled_when_it_is(bench: Bench, state: State) -> None:
    await bench.store.reserve("k", owner="o", lease=1, task_type="acme", subject={})
    if state is State.UNKNOWN:
        await bench.store.mark_unknown("k", owner="o")
    await bench.store.want_deletion("k", reason="by a person")
    async with bench.engine():
        await anyio.sleep(3_600)
        assert bench.acme.deletes == 0
        await bench.store.reserve("k", owner="p", lease=60, task_type="acme")
        await bench.store.complete("k", owner="p", meta=META)
        await anyio.sleep(7)
        assert (await found(bench.store, "k")).deletion is Deletion.DONE
    assert bench.acme.deletes == 1


async def test_only_task_types_that_are_served_here_are_looked_after(bench: Bench) -> None:
    key = await hold(bench.store, task_type="elsewhere")
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(3_600)
    record = await found(bench.store, key)
    assert (record.deletion, record.delete_tries) == (Deletion.WANTED, 0)


async def test_many_of_another_server_s_task_types_stand_in_nobody_s_way(bench: Bench) -> None:
    for number in range(1_200):
        other = await hold(bench.store, b"%d" % number, task_type="elsewhere")
        await bench.store.want_deletion(other, reason="by a person")
    await anyio.sleep(1)
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
    assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_servers_that_share_a_store_delete_a_job_once(bench: Bench) -> None:
    bench.acme.on_delete = lambda ctx: anyio.sleep(8)
    for number in range(20):
        key = await hold(bench.store, Job(f"j{number}").encode())
        await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine(), bench.engine(), bench.engine():
        await anyio.sleep(120)
    assert bench.acme.deletes == 20


async def test_a_slow_platform_holds_up_no_other(bench: Bench) -> None:
    class Quick(Acme):
        task_type = "quick"

    quick = Quick()
    bench.extra = (quick,)
    bench.acme.on_delete = lambda ctx: anyio.sleep(3_600)
    slow, key = await hold(bench.store), await hold(bench.store, task_type="quick")
    await bench.store.want_deletion(slow, reason="by a person")
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
        assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_a_deletion_that_a_caller_s_call_carries_out_is_left_to_it(bench: Bench) -> None:
    bench.acme.on_delete = lambda ctx: anyio.sleep(8)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.delete(job_request(meta))
        await anyio.sleep(120)
    assert bench.acme.deletes == 1


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


# --- what this server could not have seen


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


class BrokenStore(MemoryStore):
    broken = True

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        if self.broken:
            raise ValueError("a record in the store is not one")
        return await super().waiting(attention, older_than=older_than, limit=limit)


async def test_a_round_that_fails_is_not_the_last(bench: Bench) -> None:
    bench.store = store = BrokenStore()
    await store.start()
    key = await hold(store)
    await store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(60)
        store.broken = False
        await anyio.sleep(7)
    assert (await found(store, key)).deletion is Deletion.DONE


class UnwritableStore(MemoryStore):
    broken = True

    async def claim_deletion(self, key: str, *, hold: float) -> Record | None:
        if self.broken:
            raise ValueError("a record in the store is not one")
        return await super().claim_deletion(key, hold=hold)


async def test_a_deletion_that_the_store_fails_at_is_tried_again(bench: Bench) -> None:
    bench.store = store = UnwritableStore()
    await store.start()
    key = await hold(store)
    await store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(60)
        store.broken = False
        await anyio.sleep(7)
    assert (await found(store, key)).deletion is Deletion.DONE


async def test_where_orphans_are_to_be_found_soon_they_are_looked_for_as_often(bench: Bench) -> None:
    key = await hold(bench.store)
    await bench.store.note(key, delivered=False)
    async with bench.engine(orphan_after=2.0):
        await anyio.sleep(2.0 + 2 * 6.25 + 1.0)
    assert (await found(bench.store, key)).deletion is Deletion.DONE
