"""A run that begins again under the same name is a new run, with a new job; a repeat never is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import anyio
import pytest

from connectors import InvalidRequest, KeyTaken, Phase, Unavailable
from connectors._engine.engine import Engine
from connectors._engine.requests import Caller
from connectors._stores import State
from tests.engine.harness import Bench, create_request, job_request
from tests.engine.job_platform import JobConnector, Platform, name_of

pytestmark = pytest.mark.anyio

RERUN_AFTER = 600.0


@pytest.fixture
def platform(bench: Bench) -> Platform:
    platform = Platform()
    bench.extra = (JobConnector(platform),)
    return platform


async def create(engine: Engine, prefix: str = "s3://b/run/n0/0", caller: Caller | None = None) -> bytes:
    return await engine.create(create_request("jobs", prefix=prefix, caller=caller))


async def end_and_deliver(bench: Bench, platform: Platform, meta: bytes, phase: Phase = Phase.SUCCEEDED) -> None:
    """The job ends, and the backend has heard of it."""
    platform.end(name_of(meta), phase)
    key = platform.job(name_of(meta)).key
    await bench.store.note(key, polled=True, terminal=phase.name)


async def test_a_create_within_10_minutes_of_the_end_is_a_repeat(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as engine:
        first = await create(engine)
        await end_and_deliver(bench, platform, first)
        await anyio.sleep(RERUN_AFTER - 1)
        assert await create(engine) == first
    assert len(platform.jobs) == 1


async def test_a_create_more_than_10_minutes_after_the_end_is_a_new_run(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as engine:
        first = await create(engine)
        await end_and_deliver(bench, platform, first)
        await anyio.sleep(RERUN_AFTER + 1)
        second = await create(engine)
        assert second != first
        assert await create(engine) == second
    assert len(platform.jobs) == 2
    assert len({job.key for job in platform.jobs}) == 2


async def test_a_create_after_a_delete_is_a_new_run(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as engine:
        first = await create(engine)
        await engine.delete(job_request(first, "jobs"))
        assert await create(engine) != first
    assert len(platform.running) == 1


async def test_a_job_that_goes_on_is_never_a_reason_for_another(bench: Bench, platform: Platform) -> None:
    async with bench.engine(reap_every=7_200) as engine:
        first = await create(engine)
        await anyio.sleep(5 * 86_400)
        assert await create(engine) == first
    assert len(platform.jobs) == 1


async def test_a_name_can_be_run_again_and_again(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as engine:
        for _ in range(5):
            await end_and_deliver(bench, platform, await create(engine))
            await anyio.sleep(RERUN_AFTER + 1)
    assert len(platform.jobs) == 5
    first = await bench.store.find(platform.jobs[0].key)
    assert first is not None
    assert first.latest == 4


async def test_servers_that_start_the_new_run_together_make_one_job(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as one, bench.engine() as two:
        await end_and_deliver(bench, platform, await create(one))
        await anyio.sleep(RERUN_AFTER + 1)
        platform.latency = 1.0
        async with anyio.create_task_group() as callers:
            for engine in (one, two, one, two):
                callers.start_soon(create, engine)
    assert len(platform.jobs) == 2


@pytest.mark.parametrize("dedupe", ["native", "search"])
async def test_where_the_record_expired_and_the_platform_holds_the_old_job_a_new_one_is_made(
    bench: Bench, dedupe: Literal["native", "search"]
) -> None:
    platform = Platform()
    bench.extra = (JobConnector(platform, dedupe),)
    async with bench.engine(store_retention=3_600) as engine:
        first = await create(engine)
        platform.end(name_of(first))
        platform.jobs[0].age = timedelta(hours=2)
        await bench.store.forget(platform.jobs[0].key)
        second = await create(engine)
        assert second != first
        assert await create(engine) == second
    taken = await bench.store.find(platform.jobs[0].key)
    assert taken is not None
    assert taken.state is State.TAKEN


async def test_a_young_job_of_ours_that_no_record_knows_is_adopted(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as engine:
        first = await create(engine)
        await bench.store.forget(platform.jobs[0].key)
        assert await create(engine) == first


async def test_an_old_job_is_adopted_where_the_record_says_that_it_may_be_ours(
    bench: Bench, platform: Platform
) -> None:
    platform.lose_answers = 99
    async with bench.engine(store_retention=3_600) as engine:
        with pytest.raises(Exception, match="lost"):
            await create(engine)
        platform.lose_answers = 0
        platform.jobs[0].age = timedelta(hours=2)
        assert name_of(await create(engine)) == "job0"
    assert len(platform.jobs) == 1


async def test_a_platform_that_holds_a_job_under_every_key_is_given_up(bench: Bench) -> None:
    bench.acme.on_create = _taken
    async with bench.engine() as engine:
        with pytest.raises(KeyTaken):
            await engine.create(create_request())
    assert len(set(bench.acme.keys)) == 64


def _taken(ctx: object) -> None:
    raise KeyTaken


async def test_an_explicit_key_has_one_job_whatever_became_of_it(bench: Bench, platform: Platform) -> None:
    caller = Caller("flyte1", idempotency_key="mine")
    async with bench.engine() as engine:
        first = await create(engine, caller=caller)
        await end_and_deliver(bench, platform, first)
        await anyio.sleep(RERUN_AFTER + 1)
        assert await create(engine, caller=caller) == first


async def test_another_request_under_a_derived_key_gets_the_first_job_and_is_counted(
    bench: Bench, platform: Platform
) -> None:
    async with bench.engine() as engine:
        first = await engine.create(create_request("jobs", inputs={"x": 1}))
        assert await engine.create(create_request("jobs", inputs={"x": 1})) == first
        assert not bench.events[-1].mismatch
        assert await engine.create(create_request("jobs", inputs={"x": 2})) == first
        assert bench.events[-1].mismatch


async def test_the_ledger_knows_whose_job_it_is(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as engine:
        await create(engine)
    record = await bench.store.find(platform.jobs[0].key)
    assert record is not None
    assert record.subject == {
        "protocol": "flyte1",
        "output_prefix": "s3://b/run/n0/0",
        "project": "proj",
        "domain": "dev",
        "name": "wf.task",
        "version": "v1",
        "execution": "ex1",
        "node": "n0",
        "retry": "0",
    }


async def test_a_deletion_that_was_put_off_is_carried_out_before_the_new_run_has_its_job(
    bench: Bench, platform: Platform
) -> None:
    others: list[list[str]] = []
    async with bench.engine() as engine:
        first = await create(engine)
        await bench.store.want_deletion(platform.jobs[0].key, reason="put off")
        platform.on_submit = lambda job: others.append([name for name in platform.running if name != job.name])
        await create(engine)
    assert others == [[]]
    assert platform.cancelled == [name_of(first)]


async def test_so_is_one_of_a_later_attempt_of_the_run_before(bench: Bench, platform: Platform) -> None:
    others: list[list[str]] = []
    async with bench.engine() as engine:
        await end_and_deliver(bench, platform, await create(engine), Phase.FAILED)
        second = await create(engine, "s3://b/run/n0/1")
        await bench.store.want_deletion(platform.jobs[1].key, reason="put off")
        await anyio.sleep(RERUN_AFTER + 1)
        platform.on_submit = lambda job: others.append([name for name in platform.running if name != job.name])
        await create(engine)
    assert others == [[]]
    assert platform.cancelled == [name_of(second)]


async def test_no_new_run_begins_while_the_old_one_cannot_be_cancelled(bench: Bench, platform: Platform) -> None:
    async with bench.engine() as engine:
        await create(engine)
        await bench.store.want_deletion(platform.jobs[0].key, reason="put off")
        platform.down = True
        with pytest.raises(Unavailable):
            await create(engine)
    assert len(platform.jobs) == 1


async def test_a_job_whose_age_the_platform_does_not_tell_is_this_create_s_once_a_try_was_lost(
    bench: Bench, platform: Platform
) -> None:
    platform.tells_ages = False
    platform.lose_answers = 1
    async with bench.engine() as engine:
        assert name_of(await create(engine)) == "job0"
    assert len(platform.jobs) == 1


async def test_a_deletion_that_a_person_wants_of_a_create_under_way_is_carried_out_when_there_is_a_job(
    bench: Bench, platform: Platform
) -> None:
    platform.latency = 5.0
    async with bench.engine() as engine:
        async with anyio.create_task_group() as callers:
            callers.start_soon(create, engine)
            await anyio.sleep(1)
            (key,) = [record.key async for record in bench.store.records()]
            await bench.store.want_deletion(key, reason="by a person")
        await anyio.sleep(60)
    assert platform.cancelled == ["job0"]


async def test_a_deletion_that_a_person_wants_of_an_unknown_create_makes_no_second_job(
    bench: Bench, platform: Platform
) -> None:
    platform.lose_answers = 99
    async with bench.engine() as engine:
        with pytest.raises(Unavailable):
            await create(engine)
        platform.lose_answers = 0
        await bench.store.want_deletion(platform.jobs[0].key, reason="by a person")
        await create(engine)
        await anyio.sleep(60)
    assert len(platform.jobs) == 1
    assert platform.cancelled == ["job0"]


async def test_inputs_that_cannot_be_read_lose_no_job_of_a_connector_that_does_not_read_them(
    bench: Bench, platform: Platform
) -> None:
    def unreadable() -> dict[str, object]:
        raise InvalidRequest("inputs: no native form")

    request = replace(create_request("jobs", prefix="s3://b/run/n0/0"), inputs=unreadable)
    async with bench.engine() as engine:
        assert await engine.create(request) == await engine.create(request)
    assert len(platform.jobs) == 1


async def test_an_expired_record_s_old_job_is_not_adopted_because_a_try_failed(
    bench: Bench, platform: Platform
) -> None:
    async with bench.engine(store_retention=3_600) as engine:
        platform.end(name_of(await create(engine)))
        platform.jobs[0].age = timedelta(hours=2)
        await bench.store.forget(platform.jobs[0].key)
        platform.lose_answers = 1
        assert name_of(await create(engine)) == "job1"
