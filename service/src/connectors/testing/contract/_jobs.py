"""Facts about the jobs that an async connector makes, finds and ends."""
# ruff: noqa: S101 - assert is how a test speaks

from __future__ import annotations

import asyncio
import inspect
from contextlib import nullcontext

import pytest

from connectors.errors import KeyTaken, NotFound
from connectors.models import Phase, Resource
from connectors.testing.contract._calls import Calls, new_key
from connectors.testing.contract._case import AsyncCase
from connectors.testing.faults import Fault, FaultProxy

__all__ = ["JobFacts"]


class JobFacts:
    """What a connector claims by its ``dedupe`` is what is asked of it: "none" is a second job of a second try."""

    async def test_a_create_makes_one_job(self, calls: Calls) -> None:
        key = new_key()
        await calls.create(key)
        assert await calls.jobs(key) == 1

    async def test_a_repeat_under_the_same_key_finds_the_job(self, calls: Calls) -> None:
        key = new_key()
        first = await calls.create(key)
        assert (await calls.create(key) == first) is calls.finds_jobs
        assert await calls.jobs(key) == calls.jobs_of_two_tries

    async def test_another_server_finds_the_job_of_the_same_key(self, calls: Calls, another: Calls) -> None:
        key = new_key()
        first = await calls.create(key)
        assert (await another.create(key) == first) is calls.finds_jobs
        assert await calls.jobs(key) == calls.jobs_of_two_tries

    async def test_another_key_has_another_job(self, calls: Calls) -> None:
        one, other = new_key(), new_key()
        assert await calls.create(one) != await calls.create(other)
        assert (await calls.jobs(one), await calls.jobs(other)) == (1, 1)

    async def test_creates_of_one_key_at_the_same_time_make_one_job_where_the_platform_sees_to_it(
        self, calls: Calls
    ) -> None:
        key = new_key()
        made = await asyncio.gather(*(calls.create_at_last(key) for _ in range(8)))
        if calls.dedupe == "native":  # elsewhere it is the service that lets no two of them run at once
            assert [each for each in made if each != made[0]] == []
            assert await calls.jobs(key) == 1

    @pytest.mark.parametrize("lost", ["lose", "cut", "malformed"])
    async def test_a_repeat_after_a_lost_answer_finds_the_job(
        self, calls: Calls, case: AsyncCase, proxy: FaultProxy, lost: str
    ) -> None:
        key = new_key()
        faults = {
            "lose": Fault("lose", case.creates, committed=True, times=1),
            "cut": Fault("cut", case.creates, times=1),
            "malformed": Fault("rewrite", case.creates, rewrite=lambda body: b"", times=1),
        }
        proxy.set_fault(faults[lost])
        job = await calls.create_at_last(key)
        ((_, hits),) = proxy.faults()
        assert hits == 1, "no request was the one that the case says makes the job"
        assert await calls.jobs(key) == calls.jobs_of_two_tries
        assert isinstance(await calls.get(job), Resource), "the job that was found is none"

    async def test_a_repeat_after_a_refusal_makes_the_job(
        self, calls: Calls, case: AsyncCase, proxy: FaultProxy
    ) -> None:
        key = new_key()
        proxy.set_fault(case.refused(case.creates, 503, times=1))
        await calls.create_at_last(key)
        assert await calls.jobs(key) == 1

    async def test_an_earlier_runs_job_is_not_adopted(self, calls: Calls) -> None:
        key = new_key()
        await calls.create(key)
        with pytest.raises(KeyTaken) if calls.finds_jobs else nullcontext():
            await calls.create(ctx=calls.context(key=key, adopt_within=0.0))
        assert await calls.jobs(key) == calls.jobs_of_two_tries

    async def test_an_unknown_job_is_not_found(self, calls: Calls, case: AsyncCase) -> None:
        with pytest.raises(NotFound):
            await calls.get(case.unknown)

    async def test_a_state_that_nobody_knows_is_running_and_is_told(
        self, calls: Calls, case: AsyncCase, proxy: FaultProxy
    ) -> None:
        job = await calls.create()
        proxy.set_fault(Fault("rewrite", case.gets, rewrite=case.unknown_state))
        ctx = calls.context("get")
        shown = await calls.get(job, ctx)
        assert shown.phase is Phase.RUNNING
        assert len(ctx.unknown_states) == 1, "ctx.unknown_state was not told"

    async def test_a_delete_asks_the_platform_to_end_the_job(
        self, calls: Calls, case: AsyncCase, proxy: FaultProxy
    ) -> None:
        job = await calls.create()
        proxy.requests.clear()
        await calls.delete(job)
        assert proxy.seen(case.cancels)

    async def test_a_second_delete_is_quiet(self, calls: Calls) -> None:
        job = await calls.create()
        await calls.delete(job)
        await calls.delete(job)

    async def test_a_delete_of_a_finished_job_is_quiet(self, calls: Calls, case: AsyncCase) -> None:
        key = new_key()
        job = await calls.create(key)
        finished = case.finish(key)
        if inspect.isawaitable(finished):
            await finished
        await calls.delete(job)

    async def test_a_delete_of_an_unknown_job_is_quiet(self, calls: Calls, case: AsyncCase) -> None:
        await calls.delete(case.unknown)

    async def test_a_job_may_be_asked_for_after_its_delete(self, calls: Calls) -> None:
        job = await calls.create()
        await calls.delete(job)
        try:
            shown = await calls.get(job)
        except NotFound:  # some platforms forget it
            return
        assert isinstance(shown, Resource)
