"""Polls and the job's record: what was deleted or has ended stays so on every server, what is seen of a job is written
down, and polls of one job at the same time share one platform call."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from connectors import Context, InvalidRequest, NotFound, Phase, Resource, Unavailable
from connectors._engine.admission import Admission
from connectors._engine.job_calls import JobCalls
from connectors._engine.options import ConnectorLimits, EngineOptions
from connectors._engine.requests import Caller, JobRequest
from connectors._engine.shared_polls import SharedPolls
from connectors._stores import Deletion, Delivery, Record
from tests.engine.callers import hearing, job_of_attempt, raising, record_of
from tests.engine.harness import Acme, Bench, Job, JsonForms, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio

META = Job("j1").encode()


def being(phase: Phase, **more: Any) -> Any:
    return lambda ctx: Resource(phase, **more)


def now() -> float:
    return asyncio.get_running_loop().time()


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
    bench.acme.on_get = lambda ctx: _slowly(4.0)
    async with bench.engine() as engine:
        before = now()
        await engine.get(job_request(META))
        assert now() - before == pytest.approx(4.0)


async def test_a_store_and_a_platform_that_hang_take_no_longer_than_the_deadline(
    bench: Bench, store: SlowStore
) -> None:
    store.slowness = 3_600.0
    bench.acme.on_get = lambda ctx: _slowly(3_600.0)
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


# --- polls at the same time


async def _slowly(seconds: float, phase: Phase = Phase.RUNNING) -> Resource:
    await anyio.sleep(seconds)
    return Resource(phase)


async def _at_once(engine: Any, *requests: JobRequest) -> list[Resource]:
    return list(await asyncio.gather(*(engine.get(each) for each in requests)))


async def test_polls_at_the_same_time_share_one_platform_call(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: _slowly(1.0, Phase.SUCCEEDED)
    async with bench.engine() as engine:
        answers = await _at_once(engine, *[job_request(META)] * 20)
    assert {answer.phase for answer in answers} == {Phase.SUCCEEDED}
    assert bench.acme.gets == 1
    assert sum(event.attempts for event in bench.events) == 1


async def test_a_fault_is_shared_as_well(bench: Bench) -> None:
    bench.acme.on_get = raising(Unavailable())
    async with bench.engine(limits=ConnectorLimits(attempts=2)) as engine:
        answers = await _at_once(engine, *[job_request(META)] * 20)
    assert {answer.phase for answer in answers} == {Phase.RUNNING}
    assert bench.acme.gets == 2


@pytest.mark.parametrize(
    "other",
    [
        job_request(Job("j2").encode()),
        job_request(META, caller=Caller("flyte2")),
        job_request(META, caller=Caller("flyte1", secrets={"token": "fake-other-0123456789"})),
        JobRequest(Caller("flyte1"), job_request(META).category, META, "s3://bucket/other"),
    ],
    ids=["job", "protocol", "connection", "prefix"],
)
async def test_polls_that_differ_in_what_may_change_the_answer_share_nothing(bench: Bench, other: JobRequest) -> None:
    bench.acme.on_get = lambda ctx: _slowly(1.0)
    async with bench.engine() as engine:
        await _at_once(engine, job_request(META), other)
    assert bench.acme.gets == 2


async def test_polls_one_after_the_other_ask_the_platform_each(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.get(job_request(META))
        await engine.get(job_request(META))
    assert bench.acme.gets == 2


async def test_a_shared_call_takes_one_slot(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: _slowly(1.0, Phase.QUEUED)
    async with bench.engine(limits=ConnectorLimits(concurrency=1, queue=0)) as engine:
        answers = await _at_once(engine, *[job_request(META)] * 5)
    assert [answer.phase for answer in answers] == [Phase.QUEUED] * 5


async def test_the_call_goes_on_for_the_others_when_the_first_gives_up(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: _slowly(2.0, Phase.SUCCEEDED)
    async with bench.engine() as engine:
        first = asyncio.create_task(engine.get(job_request(META)))
        await anyio.sleep(0.5)
        second = asyncio.create_task(engine.get(job_request(META)))
        await anyio.sleep(0.5)
        first.cancel()
        assert (await second).phase is Phase.SUCCEEDED
        assert now() == pytest.approx(2.0)
    assert bench.acme.gets == 1


async def test_the_call_ends_with_the_last_who_gives_up(bench: Bench) -> None:
    ended: list[float] = []

    async def answer(ctx: Context) -> Resource:
        try:
            return await _slowly(3_600.0)
        finally:
            ended.append(now())

    bench.acme.on_get = answer
    async with bench.engine() as engine:
        polls = [asyncio.create_task(engine.get(job_request(META))) for _ in range(2)]
        await anyio.sleep(1)
        for poll in polls:
            poll.cancel()
        await anyio.sleep(1)
        assert ended == [pytest.approx(1.0)]
        bench.acme.on_get = being(Phase.QUEUED)
        assert (await engine.get(job_request(META))).phase is Phase.QUEUED


async def test_nobody_joins_a_call_that_ends_with_its_last(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: _slowly(1.0, Phase.QUEUED)
    async with bench.engine() as engine:
        shared = SharedPolls(JobCalls(Admission(EngineOptions()), engine._invoker), JsonForms())
        registered = engine.registry.find(job_request(META).category)
        with shared.joined(registered, job_request(META), Job("j1"), until=9.0) as first:
            pass
        with shared.joined(registered, job_request(META), Job("j1"), until=9.0) as second:
            answer = await second.wait(until=9.0)
    assert first is not second
    assert answer.resource == Resource(Phase.QUEUED)


async def test_a_poll_waits_for_another_s_call_no_longer_than_its_own_deadline(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: _slowly(8.0, Phase.SUCCEEDED)
    async with bench.engine() as engine:
        first = asyncio.create_task(engine.get(job_request(META)))
        await anyio.sleep(1)
        resource = await engine.get(job_request(META, caller=Caller("flyte1", deadline=now() + 2)))
        assert resource.phase is Phase.RUNNING
        assert 2.5 < now() < 3.0
        assert (await first).phase is Phase.SUCCEEDED


async def test_a_poll_with_time_left_asks_again_what_ran_out_of_another_s(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: _slowly(4.0, Phase.SUCCEEDED)
    async with bench.engine() as engine:
        first = asyncio.create_task(engine.get(job_request(META, caller=Caller("flyte1", deadline=3.0))))
        await anyio.sleep(1)
        second = await engine.get(job_request(META, caller=Caller("flyte1", deadline=20.0)))
        assert (await first).phase is Phase.RUNNING
        assert second.phase is Phase.SUCCEEDED
        assert now() < 7.0
    assert bench.acme.gets == 2
