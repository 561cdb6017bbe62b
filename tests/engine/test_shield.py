"""What is known of a job while the platform cannot tell, and a job that is given up because it has not told for too
long."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from connectors import Context, NotFound, PermissionDenied, Phase, Resource, TaskCategory, Unavailable
from connectors._engine.options import ConnectorLimits
from connectors._engine.outcome import AdmissionRefused
from connectors._engine.shield import Shield
from connectors._stores import Deletion
from tests.engine.callers import hearing, job_of_attempt, raising, record_of
from tests.engine.harness import Bench, Job, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio

ACME = TaskCategory("acme")
META = Job("j1").encode()
LIMIT = 600.0


def test_the_large_results_that_are_remembered_are_bounded_in_bytes() -> None:
    shield = Shield()
    for number in range(3):
        done = Resource(Phase.SUCCEEDED, str(number))
        shield.answer(ACME, str(number).encode(), done, size=7 * 1024 * 1024)
    phases = [shield.hide(ACME, str(number).encode(), Unavailable(), now=0).phase for number in (2, 1, 0)]
    assert phases == [Phase.SUCCEEDED, Phase.SUCCEEDED, Phase.RUNNING]


def test_large_results_crowd_out_nothing_that_is_known_of_other_jobs() -> None:
    shield = Shield()
    shield.hide(ACME, b"faulty", Unavailable(), now=0)
    shield.answer(ACME, b"failed", Resource(Phase.FAILED), size=10)
    for number in range(30):
        shield.answer(ACME, b"%d" % number, Resource(Phase.SUCCEEDED), size=1024 * 1024)
    assert shield.fault_age(ACME, b"faulty", now=9) == 9
    assert shield.terminal(ACME, b"failed") == Resource(Phase.FAILED)


def test_a_large_result_that_is_told_again_counts_once() -> None:
    shield, done = Shield(), Resource(Phase.SUCCEEDED)
    shield.answer(ACME, b"other", done, size=1024 * 1024)
    for _ in range(30):
        shield.forget(ACME, META)
        shield.answer(ACME, META, done, size=1024 * 1024)
    assert shield.terminal(ACME, b"other") == done


def test_what_is_remembered_is_bounded_in_number() -> None:
    shield = Shield()
    for number in range(16_385):
        shield.answer(ACME, b"%d" % number, Resource(Phase.QUEUED))
    assert shield.hide(ACME, b"0", Unavailable(), now=0).phase is Phase.RUNNING
    assert shield.hide(ACME, b"16384", Unavailable(), now=0).phase is Phase.QUEUED


@pytest.mark.parametrize("phase", list(Phase))
def test_nothing_that_the_platform_says_replaces_an_end_of_this_service_s_doing(phase: Phase) -> None:
    shield, aborted = Shield(), Resource(Phase.ABORTED)
    shield.end(ACME, META, aborted)
    assert shield.answer(ACME, META, Resource(phase)) == aborted
    assert shield.hide(ACME, META, Unavailable(), now=0) == aborted


def test_an_end_of_this_service_s_doing_does_not_replace_the_platform_s() -> None:
    shield, done = Shield(), Resource(Phase.SUCCEEDED, outputs={"o0": 1})
    shield.answer(ACME, META, done)
    assert shield.end(ACME, META, Resource(Phase.ABORTED)) == done
    assert shield.answer(ACME, META, Resource(Phase.FAILED)) == done


def test_a_fault_ages_from_its_first_poll_to_the_platform_s_next_answer() -> None:
    shield = Shield()
    assert shield.fault_age(ACME, META, now=5) == 0
    shield.hide(ACME, META, Unavailable(), now=10)
    shield.hide(ACME, META, Unavailable(), now=50)
    assert shield.fault_age(ACME, META, now=60) == 50
    shield.answer(ACME, META, Resource(Phase.RUNNING))
    assert shield.fault_age(ACME, META, now=70) == 0


def test_a_poll_over_this_server_s_own_limits_ages_nothing() -> None:
    shield = Shield()
    shield.hide(ACME, META, AdmissionRefused(), now=10)
    assert shield.fault_age(ACME, META, now=1_000) == 0


# --- a fault that goes on


async def _poll_for(engine: Any, meta: bytes, seconds: float, *, heard: bool = True) -> Resource:
    until = asyncio.get_running_loop().time() + seconds
    while True:
        resource: Resource = await engine.get(job_request(meta, caller=hearing(heard)))
        if asyncio.get_running_loop().time() >= until:
            return resource
        await anyio.sleep(30)


async def test_by_default_a_fault_never_ends_a_job(bench: Bench) -> None:
    bench.acme.on_get = raising(Unavailable())
    async with bench.engine() as engine:
        assert (await _poll_for(engine, META, 7_200)).phase is Phase.RUNNING
    assert bench.acme.deletes == 0


async def test_a_fault_older_than_the_limit_cancels_the_job_and_fails_it(bench: Bench) -> None:
    bench.acme.on_get = raising(Unavailable("HTTP 503"))
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        assert (await _poll_for(engine, META, LIMIT - 60)).phase is Phase.RUNNING
        assert bench.acme.deletes == 0
        resource = await _poll_for(engine, META, 120)
    assert resource.phase is Phase.RETRYABLE_FAILED
    assert "HTTP 503" in resource.message
    assert bench.acme.deletes == 1
    assert "reap" in {event.operation for event in bench.events}


async def test_the_fault_and_its_age_are_told_with_the_failure(bench: Bench) -> None:
    bench.acme.on_get = raising(Unavailable("HTTP 503"))
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        resource = await _poll_for(engine, META, LIMIT + 60)
    assert resource.custom_info is not None
    assert resource.custom_info["fault"]["status"] == "UNAVAILABLE"
    assert resource.custom_info["fault"]["age_seconds"] >= LIMIT


@pytest.mark.parametrize("later", [Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED])
async def test_a_job_that_was_given_up_stays_failed(bench: Bench, later: Phase) -> None:
    bench.acme.on_get = raising(Unavailable())
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        await _poll_for(engine, META, LIMIT + 60)
        bench.acme.on_get = lambda ctx: Resource(later)
        assert (await _poll_for(engine, META, 60)).phase is Phase.RETRYABLE_FAILED


@pytest.mark.parametrize("later", [Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED])
async def test_a_job_that_was_given_up_stays_failed_on_every_server(bench: Bench, later: Phase) -> None:
    bench.acme.on_get = raising(Unavailable("HTTP 503"))
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        meta = await job_of_attempt(engine)
        await _poll_for(engine, meta, LIMIT + 60, heard=False)
    record = await record_of(bench.store, meta)
    assert (record.terminal, record.deletion) == ("RETRYABLE_FAILED", Deletion.DONE)
    bench.acme.on_get = lambda ctx: Resource(later)
    async with bench.engine() as other:
        resource = await other.get(job_request(meta))
    assert resource.phase is Phase.RETRYABLE_FAILED
    assert "HTTP 503" in resource.message


async def test_a_job_that_is_missing_counts_as_cancelled(bench: Bench) -> None:
    bench.acme.on_get, bench.acme.on_delete = raising(Unavailable()), raising(NotFound())
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        assert (await _poll_for(engine, META, LIMIT + 60)).phase is Phase.RETRYABLE_FAILED


@pytest.mark.parametrize(
    "fault", [Unavailable(), PermissionDenied(), KeyError("a bug")], ids=lambda it: type(it).__name__
)
async def test_while_it_cannot_be_cancelled_a_job_stays_running(bench: Bench, fault: Exception) -> None:
    bench.acme.on_get, bench.acme.on_delete = raising(Unavailable()), raising(fault)
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        assert (await _poll_for(engine, META, 2 * LIMIT)).phase is Phase.RUNNING
        bench.acme.on_delete = lambda ctx: None
        assert (await _poll_for(engine, META, 60)).phase is Phase.RETRYABLE_FAILED


async def test_a_platform_that_hangs_is_a_fault_that_ages(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: anyio.sleep(3_600)
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        assert (await _poll_for(engine, META, LIMIT + 90)).phase is Phase.RETRYABLE_FAILED


async def test_a_cancel_that_hangs_holds_no_poll_up(bench: Bench) -> None:
    bench.acme.on_get, bench.acme.on_delete = raising(Unavailable()), lambda ctx: anyio.sleep(3_600)
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        await _poll_for(engine, META, LIMIT)
        before = asyncio.get_running_loop().time()
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
        assert asyncio.get_running_loop().time() - before < 10


async def test_a_job_is_cancelled_once_however_many_poll_it(bench: Bench) -> None:
    async def answer(ctx: Context) -> None:
        await anyio.sleep(2)

    bench.acme.on_get, bench.acme.on_delete = raising(Unavailable()), answer
    async with bench.engine(fail_after_fault=LIMIT, limits=ConnectorLimits(attempts=1)) as engine:
        await _poll_for(engine, META, LIMIT - 30)
        await anyio.sleep(60)
        polls = [asyncio.create_task(engine.get(job_request(META))) for _ in range(5)]
        assert {(await poll).phase for poll in polls} == {Phase.RETRYABLE_FAILED}
    assert bench.acme.deletes == 1


async def test_a_failure_during_an_outage_of_the_store_is_written_down_after_it(bench: Bench) -> None:
    bench.store = store = UnreachableStore()
    await store.start()
    async with bench.engine(fail_after_fault=LIMIT) as engine:
        meta = await job_of_attempt(engine)
        await engine.get(job_request(meta))
        await anyio.sleep(1)
        store.down = True
        bench.acme.on_get = raising(Unavailable())
        assert (await _poll_for(engine, meta, LIMIT + 60, heard=False)).phase is Phase.RETRYABLE_FAILED
        store.down = False
        await anyio.sleep(10)
        assert (await record_of(store, meta)).terminal == "RETRYABLE_FAILED"
