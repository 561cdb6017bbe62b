"""Polls of one job at the same time share one platform call."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import pytest

from connectors import Context, Phase, Resource, Unavailable
from connectors._engine.admission import Admission
from connectors._engine.job_calls import JobCalls
from connectors._engine.options import ConnectorLimits, EngineOptions
from connectors._engine.requests import Caller, JobRequest
from connectors._engine.shared_polls import SharedPolls
from tests.engine.callers import being, now, raising, slowly
from tests.engine.harness import Bench, Job, JsonForms, job_request

pytestmark = pytest.mark.anyio

META = Job("j1").encode()


async def _at_once(engine: Any, *requests: JobRequest) -> list[Resource]:
    return list(await asyncio.gather(*(engine.get(each) for each in requests)))


async def test_polls_at_the_same_time_share_one_platform_call(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: slowly(1.0, Phase.SUCCEEDED)
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
    bench.acme.on_get = lambda ctx: slowly(1.0)
    async with bench.engine() as engine:
        await _at_once(engine, job_request(META), other)
    assert bench.acme.gets == 2


async def test_polls_one_after_the_other_ask_the_platform_each(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.get(job_request(META))
        await engine.get(job_request(META))
    assert bench.acme.gets == 2


async def test_a_shared_call_takes_one_slot(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: slowly(1.0, Phase.QUEUED)
    async with bench.engine(limits=ConnectorLimits(concurrency=1, queue=0)) as engine:
        answers = await _at_once(engine, *[job_request(META)] * 5)
    assert [answer.phase for answer in answers] == [Phase.QUEUED] * 5


async def test_the_call_goes_on_for_the_others_when_the_first_gives_up(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: slowly(2.0, Phase.SUCCEEDED)
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
            return await slowly(3_600.0)
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
    bench.acme.on_get = lambda ctx: slowly(1.0, Phase.QUEUED)
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
    bench.acme.on_get = lambda ctx: slowly(8.0, Phase.SUCCEEDED)
    async with bench.engine() as engine:
        first = asyncio.create_task(engine.get(job_request(META)))
        await anyio.sleep(1)
        resource = await engine.get(job_request(META, caller=Caller("flyte1", deadline=now() + 2)))
        assert resource.phase is Phase.RUNNING
        assert 2.5 < now() < 3.0
        assert (await first).phase is Phase.SUCCEEDED


async def test_a_poll_with_time_left_asks_again_what_ran_out_of_another_s(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: slowly(4.0, Phase.SUCCEEDED)
    async with bench.engine() as engine:
        first = asyncio.create_task(engine.get(job_request(META, caller=Caller("flyte1", deadline=3.0))))
        await anyio.sleep(1)
        second = await engine.get(job_request(META, caller=Caller("flyte1", deadline=20.0)))
        assert (await first).phase is Phase.RUNNING
        assert second.phase is Phase.SUCCEEDED
        assert now() < 7.0
    assert bench.acme.gets == 2


async def test_a_large_answer_is_written_beside_the_event_loop(bench: Bench) -> None:
    bench.forms.large = True
    bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 1})
    async with bench.engine() as engine:
        await engine.get(job_request(META))
    (writer,) = bench.forms.writers
    assert writer != threading.get_ident()
