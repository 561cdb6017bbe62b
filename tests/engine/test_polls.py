"""Polls and the job's record: what was deleted or has ended stays so on every server, and what is seen of a job is
written down."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from connectors import InvalidRequest, NotFound, Phase, Resource, Unavailable
from connectors._stores import Deletion, Delivery, Record
from tests.engine.callers import being, hearing, job_of_attempt, now, raising, record_of, slowly
from tests.engine.harness import Acme, Bench, Job, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio

META = Job("j1").encode()


class SlowStore(UnreachableStore):
    """Takes its time to find a job, and counts what it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.slowness = 0.0
        self.notes = 0

    async def find_job(self, job: str) -> Record | None:
        await anyio.sleep(self.slowness)
        return await super().find_job(job)

    async def note(
        self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = ""
    ) -> Record | None:
        self.notes += 1
        return await super().note(key, delivered=delivered, polled=polled, terminal=terminal)


@pytest.fixture
async def store(bench: Bench) -> SlowStore:
    bench.store = store = SlowStore()
    await store.start()
    return store


# --- a deletion


@pytest.mark.parametrize("is_done", [False, True], ids=["wanted", "done"])
@pytest.mark.parametrize(
    "platform", [being(Phase.RUNNING), being(Phase.SUCCEEDED), raising(Unavailable()), raising(NotFound())]
)
async def test_a_deleted_job_is_aborted_whatever_the_platform_says(bench: Bench, platform: Any, is_done: bool) -> None:
    async with bench.engine() as one, bench.engine() as two:
        meta = await job_of_attempt(one)
        key = (await record_of(bench.store, meta)).key
        await bench.store.want_deletion(key, reason="deleted by the caller")
        if is_done:
            await bench.store.note_deleted(key)
        bench.acme.on_get = platform
        assert [(await engine.get(job_request(meta))).phase for engine in (one, two)] == [Phase.ABORTED] * 2


async def test_a_deleted_job_is_aborted_at_once_while_the_platform_hangs(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: anyio.sleep(3_600)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await bench.store.want_deletion((await record_of(bench.store, meta)).key, reason="deleted by the caller")
        before = now()
        assert (await engine.get(job_request(meta))).phase is Phase.ABORTED
        assert now() == before


async def test_a_job_that_ended_before_it_was_deleted_keeps_its_end(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 1})
    async with bench.engine() as one, bench.engine() as two:
        meta = await job_of_attempt(one)
        await one.get(job_request(meta, caller=hearing(True)))
        await anyio.sleep(1)
        await one.delete(job_request(meta))
        for engine in (one, two):
            assert await engine.get(job_request(meta)) == Resource(Phase.SUCCEEDED, outputs={"o0": 1})


# --- an end


async def ended(bench: Bench, phase: Phase) -> bytes:
    """A job whose end a server that is gone has delivered."""
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        bench.acme.on_get = being(phase, outputs={"o0": 1} if phase is Phase.SUCCEEDED else None)
        await engine.get(job_request(meta, caller=hearing(True)))
        await anyio.sleep(1)
    return meta


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.RETRYABLE_FAILED, Phase.ABORTED])
@pytest.mark.parametrize("platform", [being(Phase.RUNNING), raising(Unavailable()), raising(NotFound())])
async def test_an_end_that_another_server_delivered_is_never_taken_back(
    bench: Bench, phase: Phase, platform: Any
) -> None:
    meta = await ended(bench, phase)
    bench.acme.on_get = platform
    async with bench.engine() as engine:
        assert (await engine.get(job_request(meta))).phase is phase


async def test_an_end_is_told_with_the_record_s_reason(bench: Bench) -> None:
    meta = await ended(bench, Phase.FAILED)
    await bench.store.want_deletion((await record_of(bench.store, meta)).key, reason="because")
    bench.acme.on_get = raising(Unavailable())
    async with bench.engine() as engine:
        assert await engine.get(job_request(meta)) == Resource(Phase.FAILED, "because")


async def test_a_success_whose_outputs_cannot_be_had_now_is_running_with_the_fault(bench: Bench) -> None:
    meta = await ended(bench, Phase.SUCCEEDED)
    bench.acme.on_get = raising(Unavailable("HTTP 503"))
    async with bench.engine() as engine:
        resource = await engine.get(job_request(meta))
        assert resource.phase is Phase.RUNNING
        assert resource.custom_info is not None
        assert resource.custom_info["fault"]["message"] == "HTTP 503"
        bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 1})
        assert await engine.get(job_request(meta)) == Resource(Phase.SUCCEEDED, outputs={"o0": 1})


async def test_a_success_that_this_server_remembers_is_answered_during_a_fault(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 1})
        await engine.get(job_request(meta, caller=hearing(True)))
        await anyio.sleep(1)
        bench.acme.on_get = raising(Unavailable())
        assert await engine.get(job_request(meta)) == Resource(Phase.SUCCEEDED, outputs={"o0": 1})


async def test_a_success_that_this_server_remembers_outlasts_the_job(bench: Bench) -> None:
    async with bench.engine() as engine:
        bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 1})
        await engine.get(job_request(META))
        bench.acme.on_get = raising(NotFound())
        for _ in range(3):
            assert await engine.get(job_request(META)) == Resource(Phase.SUCCEEDED, outputs={"o0": 1})
            await anyio.sleep(60)
    assert bench.acme.deletes == 0


async def test_a_success_whose_job_is_gone_is_a_success_where_the_results_lie_elsewhere(bench: Bench) -> None:
    meta = await ended(bench, Phase.SUCCEEDED)
    bench.acme.on_get = raising(NotFound())
    async with bench.engine() as engine:
        assert await engine.get(job_request(meta)) == Resource(Phase.SUCCEEDED)


async def test_a_success_whose_job_is_gone_has_failed_where_its_results_went_with_it(bench: Bench) -> None:
    class Inline(Acme):
        results_inline = True

    bench.acme = Inline()
    meta = await ended(bench, Phase.SUCCEEDED)
    bench.acme.on_get = raising(NotFound("no job"))
    async with bench.engine() as engine:
        resource = await engine.get(job_request(meta))
    assert (resource.phase, "no job" in resource.message) == (Phase.FAILED, True)


async def test_the_platform_s_own_end_is_passed_on_also_where_another_was_noted(bench: Bench) -> None:
    meta = await ended(bench, Phase.FAILED)
    bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 2})
    async with bench.engine() as engine:
        assert await engine.get(job_request(meta)) == Resource(Phase.SUCCEEDED, outputs={"o0": 2})


# --- what is written down


async def test_the_first_poll_is_written_down_and_proves_that_the_meta_arrived(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine, heard=False)
        await anyio.sleep(1)
        await engine.get(job_request(meta))
        await anyio.sleep(1)
        record = await record_of(bench.store, meta)
    assert (record.delivery, record.asked_at > 0) == (Delivery.DELIVERED, True)


async def test_polls_are_written_down_to_the_half_hour(bench: Bench, store: SlowStore) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await anyio.sleep(1)
        store.notes = 0
        for _ in range(3 * 120):
            await engine.get(job_request(meta))
            await anyio.sleep(30)
        asked = await record_of(store, meta)
    assert store.notes == 6
    assert asked.polled_at - asked.asked_at == pytest.approx(2.5 * 3_600, abs=200)


async def test_another_server_s_polls_are_not_lost_between_the_half_hours(bench: Bench) -> None:
    async with bench.engine() as one, bench.engine() as two:
        meta = await job_of_attempt(one)
        await one.get(job_request(meta))
        for _ in range(3 * 60):
            await anyio.sleep(60)
            await two.get(job_request(meta))
        record = await record_of(bench.store, meta)
        assert await bench.store.now() - record.polled_at < 3_700


async def test_an_end_is_written_down_once_its_answer_left(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.SUCCEEDED)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.get(job_request(meta, caller=hearing(False)))
        await anyio.sleep(1)
        assert (await record_of(bench.store, meta)).terminal == ""
        await engine.get(job_request(meta, caller=hearing(True)))
        await anyio.sleep(1)
        assert (await record_of(bench.store, meta)).terminal == "SUCCEEDED"


async def test_an_end_that_was_delivered_during_an_outage_is_written_down_after_it(
    bench: Bench, store: SlowStore
) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.get(job_request(meta))
        await anyio.sleep(1)
        store.down = True
        bench.acme.on_get = being(Phase.FAILED)
        assert (await engine.get(job_request(meta, caller=hearing(True)))).phase is Phase.FAILED
        await anyio.sleep(60)
        store.down = False
        await anyio.sleep(10)
        assert (await record_of(store, meta)).terminal == "FAILED"


async def test_a_poll_of_a_job_that_the_store_never_heard_of_writes_nothing(bench: Bench, store: SlowStore) -> None:
    bench.acme.on_get = being(Phase.SUCCEEDED)
    async with bench.engine() as engine:
        await engine.get(job_request(META))
        await anyio.sleep(1)
    assert [record async for record in store.records()] == []


async def test_an_end_that_a_server_delivers_in_an_outage_is_written_down_though_it_does_not_know_the_key(
    bench: Bench, store: SlowStore
) -> None:
    async with bench.engine() as one, bench.engine() as two:
        meta = await job_of_attempt(one)
        await anyio.sleep(1)
        store.down = True
        bench.acme.on_get = being(Phase.SUCCEEDED)
        assert (await two.get(job_request(meta, caller=hearing(True)))).phase is Phase.SUCCEEDED
        await anyio.sleep(60)
        store.down = False
        await anyio.sleep(10)
        assert (await record_of(store, meta)).terminal == "SUCCEEDED"


# --- a job that the platform does not find


async def test_a_new_job_that_the_platform_does_not_show_yet_runs(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        bench.acme.on_get = raising(NotFound("no job"))
        await anyio.sleep(55)
        resource = await engine.get(job_request(meta))
        assert resource.phase is Phase.RUNNING
        assert resource.custom_info is not None
        assert resource.custom_info["fault"]["status"] == "NOT_FOUND"
        bench.acme.on_get = being(Phase.SUCCEEDED)
        assert (await engine.get(job_request(meta))).phase is Phase.SUCCEEDED
    assert bench.acme.deletes == 0


@pytest.mark.parametrize(
    "on_delete", [lambda ctx: None, raising(NotFound()), raising(InvalidRequest())], ids=["hidden", "gone", "never"]
)
async def test_a_job_that_is_gone_after_a_minute_is_cancelled_and_has_failed(bench: Bench, on_delete: Any) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        bench.acme.on_get, bench.acme.on_delete = raising(NotFound("no job")), on_delete
        await anyio.sleep(60)
        assert await engine.get(job_request(meta, caller=hearing(True))) == Resource(Phase.FAILED, "no job")
        await anyio.sleep(1)
        record = await record_of(bench.store, meta)
    assert bench.acme.deletes == 1
    assert (record.terminal, record.deletion) == ("FAILED", Deletion.NONE)


async def test_a_job_that_is_gone_runs_as_long_as_it_cannot_be_cancelled(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        bench.acme.on_get, bench.acme.on_delete = raising(NotFound("no job")), raising(Unavailable("HTTP 503"))
        await anyio.sleep(60)
        resource = await engine.get(job_request(meta))
        assert resource.phase is Phase.RUNNING
        assert resource.custom_info is not None
        assert resource.custom_info["fault"]["message"] == "HTTP 503"
        bench.acme.on_delete = lambda ctx: None
        assert (await engine.get(job_request(meta))).phase is Phase.FAILED


async def test_a_job_that_is_gone_fails_in_an_outage_too(bench: Bench, store: SlowStore) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        store.down = True
        bench.acme.on_get = raising(NotFound("no job"))
        await anyio.sleep(600)
        phases = []
        for _ in range(3):
            phases.append((await engine.get(job_request(meta))).phase)
            await anyio.sleep(30)
    assert phases == [Phase.RUNNING, Phase.RUNNING, Phase.FAILED]


# --- the store's time


async def test_a_store_that_is_out_of_reach_is_done_without(bench: Bench, store: SlowStore) -> None:
    store.down = True
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
    assert not bench.events[-1].shielded


async def test_a_store_that_hangs_costs_a_poll_a_second(bench: Bench, store: SlowStore) -> None:
    store.slowness = 3_600.0
    async with bench.engine() as engine:
        before = now()
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
        assert now() - before == pytest.approx(1.0)


async def test_the_store_is_asked_while_the_platform_is(bench: Bench, store: SlowStore) -> None:
    store.slowness = 4.0
    bench.acme.on_get = lambda ctx: slowly(4.0)
    async with bench.engine() as engine:
        before = now()
        await engine.get(job_request(META))
        assert now() - before == pytest.approx(4.0)


@pytest.mark.parametrize("steps", range(8))
async def test_a_store_and_a_platform_that_answer_at_the_same_instant_are_both_heard(bench: Bench, steps: int) -> None:
    class Late(SlowStore):
        async def find_job(self, job: str) -> Record | None:
            await anyio.sleep(4.0)
            for _ in range(steps):  # of the event loop
                await asyncio.sleep(0)
            return await super().find_job(job)

    bench.store = Late()
    await bench.store.start()
    bench.acme.on_get = lambda ctx: slowly(4.0)
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
        await asyncio.sleep(0)


async def test_a_store_and_a_platform_that_hang_take_no_longer_than_the_deadline(
    bench: Bench, store: SlowStore
) -> None:
    store.slowness = 3_600.0
    bench.acme.on_get = lambda ctx: slowly(3_600.0)
    async with bench.engine() as engine:
        before = now()
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
        assert now() - before < 9.6


class BrokenStore(SlowStore):
    async def find_job(self, job: str) -> Record | None:
        raise ValueError("a record in the store is not one")


async def test_a_record_that_cannot_be_read_is_done_without(bench: Bench) -> None:
    bench.store = BrokenStore()
    await bench.store.start()
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
