"""When attempt N + 1 comes, attempt N was abandoned: its job is taken over, or cancelled before another is made."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import anyio
import pytest

from connectors import ConnectorError, DeadlineExceeded, Phase, Unavailable
from connectors._engine.engine import Engine
from connectors._engine.identity import run_of, subject_of
from connectors._engine.options import ConnectorLimits
from connectors._engine.requests import Caller
from connectors._stores import Attention, Deletion, State, job_of
from tests.engine.harness import Bench, create_request, job_request
from tests.engine.job_platform import JobConnector, Platform, in_seconds, name_of

pytestmark = pytest.mark.anyio

Dedupe = Literal["native", "search", "none"]


def platform_of(bench: Bench, dedupe: Dedupe = "native", *, inline: bool) -> Platform:
    platform = Platform()
    bench.extra = (JobConnector(platform, dedupe, inline=inline),)
    return platform


async def create(engine: Engine, attempt: int, *, seconds: float | None = None, protocol: str = "flyte1") -> bytes:
    deadline = None if seconds is None else in_seconds(seconds)
    caller = Caller("flyte2" if protocol == "flyte2" else "flyte1", deadline=deadline)
    return await engine.create(create_request("jobs", prefix=f"s3://b/run/n0/{attempt}", caller=caller))


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.QUEUED, Phase.SUCCEEDED])
async def test_a_job_that_nobody_asked_for_is_taken_over_where_its_results_are_inline(
    bench: Bench, phase: Phase
) -> None:
    platform = platform_of(bench, inline=True)
    async with bench.engine() as engine:
        first = await create(engine, 0)
        platform.end(name_of(first), phase)
        assert await create(engine, 1) == first
        assert await create(engine, 1) == first
    assert len(platform.jobs) == 1
    assert platform.cancelled == []


async def test_a_job_that_was_taken_over_is_nobody_s_orphan(bench: Bench) -> None:
    platform = platform_of(bench, inline=True)
    async with bench.engine() as engine:
        await create(engine, 0)
        await create(engine, 1)
    first = await bench.store.find(platform.jobs[0].key)
    assert first is not None
    assert first.attention() is Attention.NONE


async def test_a_running_job_that_writes_under_its_own_prefix_is_cancelled_before_the_next_is_made(
    bench: Bench,
) -> None:
    platform = platform_of(bench, inline=False)
    running_at_submit: list[list[str]] = []
    async with bench.engine() as engine:
        await create(engine, 0)
        platform.on_submit = lambda job: running_at_submit.append([x for x in platform.running if x != job.name])
        await create(engine, 1)
    assert running_at_submit == [[]]
    assert platform.running == ["job1"]
    first = await bench.store.find(platform.jobs[0].key)
    assert first is not None
    assert first.deletion is Deletion.DONE


async def test_a_running_job_that_was_asked_for_is_cancelled_although_its_results_are_inline(bench: Bench) -> None:
    platform = platform_of(bench, inline=True)
    async with bench.engine() as engine:
        await create(engine, 0)
        await bench.store.note(platform.jobs[0].key, polled=True)
        await create(engine, 1)
    assert platform.cancelled == ["job0"]
    assert platform.running == ["job1"]


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.ABORTED, Phase.RETRYABLE_FAILED])
async def test_after_a_failed_job_another_is_made_and_nothing_is_cancelled(
    bench: Bench, phase: Phase, inline: bool
) -> None:
    platform = platform_of(bench, inline=inline)
    async with bench.engine() as engine:
        platform.end(name_of(await create(engine, 0)), phase)
        assert name_of(await create(engine, 1)) == "job1"
    assert platform.cancelled == []


async def test_a_job_that_succeeded_under_another_prefix_is_not_taken_over(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        platform.end(name_of(await create(engine, 0)))
        assert name_of(await create(engine, 1)) == "job1"


async def test_a_job_that_is_gone_is_no_obstacle(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        await create(engine, 0)
        key = platform.jobs.pop().key
        await create(engine, 1)
    assert platform.jobs[0].key != key


@pytest.mark.parametrize("dedupe", ["native", "search"])
async def test_where_the_answer_was_lost_an_inline_job_is_found_and_taken_over(bench: Bench, dedupe: Dedupe) -> None:
    platform = platform_of(bench, dedupe, inline=True)
    platform.lose_answers = 1
    async with bench.engine(limits=ConnectorLimits(attempts=1)) as engine:
        with pytest.raises(Unavailable):
            await create(engine, 0)
        count = len(platform.jobs)
        assert name_of(await create(engine, 1)) == "job0"
    assert len(platform.jobs) == count == 1
    first = await bench.store.find(platform.jobs[0].key)
    assert first is not None
    assert (first.state, first.attention()) == (State.DONE, Attention.NONE)


@pytest.mark.parametrize("dedupe", ["native", "search"])
async def test_where_the_answer_was_lost_a_job_with_its_own_prefix_is_found_and_cancelled(
    bench: Bench, dedupe: Dedupe
) -> None:
    platform = platform_of(bench, dedupe, inline=False)
    platform.lose_answers = 1
    async with bench.engine(limits=ConnectorLimits(attempts=1)) as engine:
        with pytest.raises(Unavailable):
            await create(engine, 0)
        await create(engine, 1)
    assert platform.cancelled == ["job0"]
    assert [job.prefix for job in platform.jobs if job.runs] == ["s3://b/run/n0/1"]


@pytest.mark.parametrize("dedupe", ["native", "search"])
@pytest.mark.parametrize("inline", [True, False])
async def test_a_caller_that_gives_up_during_a_create_leaves_no_second_running_job(
    bench: Bench, dedupe: Dedupe, inline: bool
) -> None:
    platform = platform_of(bench, dedupe, inline=inline)
    platform.latency = 15.0
    async with bench.engine() as one, bench.engine() as two:
        with pytest.raises(DeadlineExceeded):
            await create(one, 0, seconds=10)
        for attempt in range(1, 4):
            try:
                await create(two, attempt, seconds=30)
                break
            except ConnectorError:
                assert attempt < 3
        await anyio.sleep(60)
    assert len(platform.running) == 1


async def test_while_the_platform_cannot_tell_no_second_job_is_made(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        await create(engine, 0)
        platform.down = True
        with pytest.raises(Unavailable):
            await create(engine, 1)
        platform.down = False
        await create(engine, 2)
    assert platform.cancelled == ["job0"]
    assert platform.running == ["job1"]
    assert await bench.store.find(platform.jobs[0].key) is not None


async def test_an_attempt_that_was_broken_off_while_it_took_a_job_over_passes_it_on(bench: Bench) -> None:
    platform = platform_of(bench, inline=True)
    async with bench.engine() as engine:
        first = await create(engine, 0)
        record = await bench.store.find(platform.jobs[0].key)
        assert record is not None
        # attempt 1's server died between its two writes
        await bench.store.set_aside(record.key, reason="taken over", adopted_by="the key of attempt 1")
        assert await create(engine, 2) == first
    assert len(platform.jobs) == 1


async def test_a_first_attempt_looks_for_none_before_it(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        await create(engine, 0, protocol="flyte2")
        await create(engine, 1, protocol="flyte2")
    assert platform.cancelled == []


async def test_flyte_2_s_second_attempt_is_numbered_2(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        await create(engine, 1, protocol="flyte2")
        await create(engine, 2, protocol="flyte2")
    assert platform.cancelled == ["job0"]


async def test_the_attempt_before_is_that_of_the_latest_run_of_the_name(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        first = await create(engine, 0)
        platform.end(name_of(first))
        await bench.store.note(platform.jobs[0].key, polled=True, terminal="SUCCEEDED")
        await anyio.sleep(601)
        second = await create(engine, 0)
        await create(engine, 1)
    assert platform.cancelled == [name_of(second)]


async def test_other_nodes_and_other_names_are_left_alone(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        await engine.create(create_request("jobs", prefix="s3://b/run/n1/0"))
        await engine.create(create_request("jobs", prefix="s3://b/run/n0/1"))
    assert platform.cancelled == []


# --- what changes meanwhile


async def test_a_job_that_is_to_be_cancelled_by_the_time_it_would_be_taken_over_is_not(bench: Bench) -> None:
    platform = platform_of(bench, inline=True)
    async with bench.engine() as engine:
        await create(engine, 0)
        key = platform.jobs[0].key
        platform.on_get = lambda: bench.store.want_deletion(key, reason="its answer reached nobody")
        assert name_of(await create(engine, 1)) == "job1"
    assert platform.running == ["job1"]


async def test_a_job_that_is_asked_for_by_the_time_it_would_be_taken_over_is_cancelled(bench: Bench) -> None:
    platform = platform_of(bench, inline=True)
    async with bench.engine() as engine:
        await create(engine, 0)
        await bench.store.note(platform.jobs[0].key, delivered=False)
        platform.on_get = lambda: bench.store.note(platform.jobs[0].key, polled=True)
        await create(engine, 1)
    assert platform.cancelled == ["job0"]


@pytest.mark.parametrize("inline", [True, False])
async def test_the_name_run_again_after_a_later_attempt_ended_gets_a_new_job(bench: Bench, inline: bool) -> None:
    platform = platform_of(bench, inline=inline)
    async with bench.engine() as engine:
        await create(engine, 0)
        second = await create(engine, 1)
        platform.end(name_of(second))
        found = await bench.store.find_job(job_of("jobs", 0, second))
        assert found is not None
        await bench.store.note(found.key, polled=True, terminal="SUCCEEDED")
        await anyio.sleep(601)
        again = await create(engine, 0)
    assert platform.running == [name_of(again)]


async def test_the_name_run_again_after_a_later_attempt_was_deleted_gets_a_new_job(bench: Bench) -> None:
    platform_of(bench, inline=True)
    async with bench.engine() as engine:
        await create(engine, 0)
        await engine.delete(job_request(await create(engine, 1), "jobs"))
        assert name_of(await create(engine, 0)) == "job1"


async def test_a_later_generation_is_found_although_the_first_record_does_not_name_it(bench: Bench) -> None:
    platform = platform_of(bench, inline=False)
    async with bench.engine() as engine:
        await engine.delete(job_request(await create(engine, 0), "jobs"))
        second = await create(engine, 0)
        record = await bench.store.find(platform.jobs[0].key)
        assert record is not None
        await bench.store.forget(record.key)
        await bench.store.remember(replace(record, latest=0))  # as if that had never been written down
        await bench.store.note_deleted(record.key)
        await bench.store.want_deletion(record.key, reason="again")
        await bench.store.note_deleted(record.key)
        await create(engine, 1)
    assert name_of(second) in platform.cancelled
    assert len(platform.running) == 1


async def reserved_by_a_dead_server(bench: Bench, attempt: int) -> None:
    request = create_request("jobs", prefix=f"s3://b/run/n0/{attempt}")
    key = run_of(request, "").key
    await bench.store.reserve(key, owner="dead", lease=1.0, task_type="jobs", run=key, subject=subject_of(request))


@pytest.mark.parametrize("dedupe", ["native", "search"])
async def test_an_attempt_that_was_broken_off_before_it_cancelled_a_job_does_not_leave_it_running(
    bench: Bench, dedupe: Dedupe
) -> None:
    platform = platform_of(bench, dedupe, inline=False)
    async with bench.engine() as engine:
        await create(engine, 0)
        await reserved_by_a_dead_server(bench, 1)
        third = await create(engine, 2)
    assert platform.running == [name_of(third)]
    assert "job0" in platform.cancelled


@pytest.mark.parametrize("dedupe", ["native", "search"])
async def test_an_attempt_that_was_broken_off_before_it_took_a_job_over_passes_it_on(
    bench: Bench, dedupe: Dedupe
) -> None:
    platform = platform_of(bench, dedupe, inline=True)
    async with bench.engine() as engine:
        first = await create(engine, 0)
        await reserved_by_a_dead_server(bench, 1)
        assert await create(engine, 2) == first
    assert len(platform.jobs) == 1


async def test_a_create_that_goes_on_is_waited_for_also_where_its_job_could_not_be_found(bench: Bench) -> None:
    platform = platform_of(bench, "none", inline=True)
    platform.latency = 15.0
    async with bench.engine() as one, bench.engine() as two:
        with pytest.raises(DeadlineExceeded):
            await create(one, 0, seconds=1)
        await create(two, 1, seconds=30)
    assert len(platform.jobs) == 1
