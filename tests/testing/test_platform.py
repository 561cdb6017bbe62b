"""The fake platform: what it counts, and each of its faults, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors import (
    Context,
    DeadlineExceeded,
    HttpClient,
    KeyTaken,
    NotFound,
    PermissionDenied,
    Phase,
    RateLimited,
    Secrets,
    TaskTemplate,
    Unauthenticated,
    Unavailable,
)
from connectors.testing.platform import (
    CONNECTORS,
    FakePlatform,
    Fault,
    JobState,
    NativeConnector,
    NativePrefixConnector,
    NoneConnector,
    Operation,
    PlatformConnector,
    PlatformRun,
    PlatformSettings,
    SearchConnector,
)

pytestmark = pytest.mark.anyio

PREFIX = "s3://bucket/run/n0/0"
SLOW = TaskTemplate("t", custom={"duration": 3600})
EVERY = list(CONNECTORS.values())


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform(seed=7) as started:
        yield started


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


def connector(kind: type[PlatformConnector], platform: FakePlatform, token: str = "") -> PlatformConnector:
    return kind(PlatformSettings(platform.url, token))


def context(http: HttpClient, key: str = "k", prefix: str = PREFIX, **more: Any) -> Context:
    deadline = asyncio.get_running_loop().time() + 10
    return Context(http=http, secrets=Secrets(()), deadline=deadline, idempotency_key=key, output_prefix=prefix, **more)


async def create(kind: PlatformConnector, http: HttpClient, task: TaskTemplate = SLOW, **more: Any) -> PlatformRun:
    return await kind.create(task, context(http, **more))


async def state(kind: PlatformConnector, http: HttpClient, run: PlatformRun) -> Phase:
    return (await kind.get(run, context(http))).phase


# --- jobs


@pytest.mark.parametrize(("kind", "jobs"), [(each, 2 if each.dedupe == "none" else 1) for each in EVERY])
async def test_a_second_create_under_a_key_makes_a_second_job_only_where_nothing_keeps_it_from_it(
    platform: FakePlatform, http: HttpClient, kind: type[PlatformConnector], jobs: int
) -> None:
    for _ in range(2):
        await create(connector(kind, platform), http)
    assert platform.by_key() == {"k": jobs}


async def test_creates_of_one_key_at_the_same_time_make_one_job_where_the_platform_dedupes(
    platform: FakePlatform, http: HttpClient
) -> None:
    native = connector(NativeConnector, platform)
    runs = await asyncio.gather(*(create(native, http) for _ in range(32)))
    assert len(set(runs)) == 1
    assert [job.submissions for job in platform.jobs()] == [32]


async def test_searches_at_the_same_time_find_nothing_and_make_two_jobs(
    platform: FakePlatform, http: HttpClient
) -> None:
    platform.set_fault(Fault("slow", ("submit",), delay=1))
    search = connector(SearchConnector, platform)
    await asyncio.gather(create(search, http), create(search, http))
    assert platform.by_key() == {"k": 2}


async def test_a_repeat_may_be_told_by_a_409(platform: FakePlatform, http: HttpClient) -> None:
    native, task = connector(NativeConnector, platform), TaskTemplate("t", custom={"conflict": True, "duration": 9})
    assert await create(native, http, task) == await create(native, http, task)


@pytest.mark.parametrize("kind", [NativeConnector, SearchConnector])
async def test_a_job_that_is_too_old_is_not_adopted(
    platform: FakePlatform, http: HttpClient, kind: type[PlatformConnector]
) -> None:
    await create(connector(kind, platform), http)
    platform.age(61)
    with pytest.raises(KeyTaken):
        await create(connector(kind, platform), http, adopt_within=60)


async def test_a_job_goes_through_its_states_at_their_times(platform: FakePlatform, http: HttpClient) -> None:
    native = connector(NativeConnector, platform)
    run = await create(native, http, TaskTemplate("t", custom={"pending": 10, "duration": 20, "outcome": "FAILED"}))
    seen = []
    for _ in range(3):
        seen.append(await state(native, http, run))
        await asyncio.sleep(15)
    assert seen == [Phase.QUEUED, Phase.RUNNING, Phase.FAILED]
    (job,) = platform.jobs()
    began = job.states[0][1]
    assert [(each, since - began) for each, since in job.states] == [
        (JobState.PENDING, 0),
        (JobState.RUNNING, 10),
        (JobState.FAILED, 30),
    ]


async def test_a_result_is_inline_or_written_under_the_prefix(platform: FakePlatform, http: HttpClient) -> None:
    task = TaskTemplate("t", custom={"duration": 1})
    inline, written = connector(NativeConnector, platform), connector(NativePrefixConnector, platform)
    first, second = await create(inline, http, task), await create(written, http, task, key="l", prefix="s3://b/0")
    assert not platform.wrote("s3://b/0")
    await asyncio.sleep(1)
    assert (await inline.get(first, context(http))).outputs == {"o0": first.job_id}
    assert (await written.get(second, context(http))).outputs is None
    assert platform.wrote("s3://b/0")
    assert not platform.wrote(PREFIX)


async def test_a_cancelled_job_ends_in_the_time_that_it_takes_and_counts_no_more_at_once(http: HttpClient) -> None:
    async with FakePlatform(cancel_takes=5) as platform:
        native = connector(NativeConnector, platform)
        run = await create(native, http)
        await native.delete(run, context(http))
        await create(native, http, key="l", prefix="s3://bucket/run/n0/1")
        await asyncio.sleep(1)
        assert await state(native, http, run) is Phase.RUNNING
        await asyncio.sleep(5)
        assert await state(native, http, run) is Phase.ABORTED
        assert [each for each, _ in platform.jobs()[0].states] == ["RUNNING", "CANCELLING", "CANCELLED"]
        assert platform.by_task() == {"s3://bucket/run/n0": 2}
        assert platform.at_once() == {"s3://bucket/run/n0": 1}


async def test_jobs_of_one_task_that_overlap_are_counted_at_once(platform: FakePlatform, http: HttpClient) -> None:
    for attempt in range(3):
        await create(connector(NoneConnector, platform), http, key=f"k{attempt}")
        await asyncio.sleep(1800)
    assert platform.at_once() == {"s3://bucket/run/n0": 2}


async def test_the_delete_of_a_job_that_is_over_or_missing_is_no_error(
    platform: FakePlatform, http: HttpClient
) -> None:
    native = connector(NativeConnector, platform)
    run = await create(native, http, TaskTemplate("t"))
    for _ in range(2):
        await native.delete(run, context(http))
    assert await state(native, http, run) is Phase.SUCCEEDED
    platform.forget(run.job_id)
    await native.delete(run, context(http))
    with pytest.raises(NotFound):
        await native.get(run, context(http))


async def test_a_job_can_be_ended_by_hand(platform: FakePlatform, http: HttpClient) -> None:
    native = connector(NativeConnector, platform)
    run = await create(native, http, TaskTemplate("t", custom={"duration": None}))
    platform.end(run.job_id, JobState.PREEMPTED)
    assert await state(native, http, run) is Phase.RETRYABLE_FAILED


# --- faults


async def test_an_answer_is_lost_after_the_job_was_made(platform: FakePlatform, http: HttpClient) -> None:
    platform.set_fault(Fault("lose", ("submit",), committed=True, times=1))
    native = connector(NativeConnector, platform)
    with pytest.raises(Unavailable):
        await create(native, http)
    assert platform.by_key() == {"k": 1}
    assert await create(native, http) == PlatformRun("job-000001")


async def test_a_request_is_lost_before_the_job_was_made(platform: FakePlatform, http: HttpClient) -> None:
    platform.set_fault(Fault("lose", ("submit",), times=1))
    with pytest.raises(Unavailable):
        await create(connector(NativeConnector, platform), http)
    assert platform.jobs() == ()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthenticated),
        (403, PermissionDenied),
        (429, RateLimited),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
async def test_a_status_is_answered_for_some_time(
    platform: FakePlatform, http: HttpClient, status: int, error: type[Exception]
) -> None:
    native = connector(NativeConnector, platform)
    run = await create(native, http)
    platform.set_fault(Fault("answer", status=status, seconds=300))
    for _ in range(2):
        with pytest.raises(error):
            await native.get(run, context(http))
        await asyncio.sleep(149)
    await asyncio.sleep(2)
    assert await state(native, http, run) is Phase.RUNNING


async def test_a_status_may_say_when_to_come_again(platform: FakePlatform, http: HttpClient) -> None:
    platform.set_fault(Fault("answer", status=429, retry_after="7", times=1))
    with pytest.raises(RateLimited) as caught:
        await create(connector(NativeConnector, platform), http)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(("committed", "jobs"), [(False, 0), (True, 1)])
async def test_no_answer_comes_at_all(platform: FakePlatform, http: HttpClient, committed: bool, jobs: int) -> None:
    platform.set_fault(Fault("hang", ("submit",), committed=committed, seconds=300))
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await create(connector(NativeConnector, platform), http)
    assert asyncio.get_running_loop().time() - began == pytest.approx(5)
    assert len(platform.jobs()) == jobs


async def test_a_request_that_hangs_is_dropped_when_its_fault_ends(platform: FakePlatform, http: HttpClient) -> None:
    platform.set_fault(Fault("hang", seconds=3))
    with pytest.raises(Unavailable):
        await create(connector(NativeConnector, platform), http)


async def test_an_answer_is_slow(platform: FakePlatform, http: HttpClient) -> None:
    platform.set_fault(Fault("slow", ("get",), delay=2), Fault("slow", delay=1))
    native = connector(NativeConnector, platform)
    run = await create(native, http)
    began = asyncio.get_running_loop().time()
    await state(native, http, run)
    assert asyncio.get_running_loop().time() - began == pytest.approx(3)


async def test_a_state_that_nobody_knows_is_shown(platform: FakePlatform, http: HttpClient) -> None:
    native = connector(NativeConnector, platform)
    run = await create(native, http, TaskTemplate("t"))
    platform.set_fault(Fault("state", ("get",), state="HIBERNATING", times=1))
    ctx = context(http)
    assert (await native.get(run, ctx)).phase is Phase.RUNNING
    assert ctx.unknown_states == {"HIBERNATING"}
    assert await state(native, http, run) is Phase.SUCCEEDED


async def test_a_fault_may_be_for_one_key(platform: FakePlatform, http: HttpClient) -> None:
    platform.set_fault(Fault("answer", key="k"))
    native = connector(NativeConnector, platform)
    with pytest.raises(Unavailable):
        await create(native, http)
    await create(native, http, key="another")


async def lost(seed: int, keys: list[str], http: HttpClient) -> set[str]:
    """The keys whose first answer is lost."""
    async with FakePlatform(seed=seed) as platform:
        platform.set_fault(Fault("lose", ("submit",), committed=True, probability=0.3))
        native = connector(NativeConnector, platform)
        ended = await asyncio.gather(*(create(native, http, key=key) for key in keys), return_exceptions=True)
        return {key for key, result in zip(keys, ended, strict=True) if isinstance(result, Unavailable)}


async def test_the_seed_decides_which_answers_are_lost_and_the_order_of_requests_does_not(http: HttpClient) -> None:
    keys = [f"key-{number}" for number in range(100)]
    first = await lost(1, keys, http)
    assert 15 <= len(first) <= 45
    assert await lost(1, keys[::-1], http) == first
    assert await lost(2, keys, http) != first


async def test_a_token_is_needed_where_there_is_one_and_may_rotate(platform: FakePlatform, http: HttpClient) -> None:
    platform.token = "first"
    await create(connector(NativeConnector, platform, token="first"), http)
    platform.token = "second"
    with pytest.raises(Unauthenticated):
        await create(connector(NativeConnector, platform, token="first"), http)


async def test_a_caller_that_goes_away_leaves_its_job_behind(platform: FakePlatform, http: HttpClient) -> None:
    platform.set_fault(Fault("slow", delay=5))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await create(connector(NativeConnector, platform), http)
    await asyncio.sleep(5)
    assert len(platform.jobs()) == 1


@pytest.mark.parametrize(
    "body", [{}, {"action": "burn"}, {"action": "lose", "operations": ["fly"]}, {"action": "lose", "extra": 1}]
)
async def test_a_fault_that_there_is_not_is_refused(platform: FakePlatform, http: HttpClient, body: Any) -> None:
    answer = await http.request("POST", f"{platform.url}/_faults", json=body)
    assert answer.status == 400
    assert platform.faults() == []


@pytest.mark.parametrize("body", [[], {"outcome": "RUNNING"}, {"outcome": "?"}, {"dedupe": "maybe"}, {"extra": 1}])
async def test_a_submission_that_is_none_is_refused(platform: FakePlatform, http: HttpClient, body: Any) -> None:
    answer = await http.request("POST", f"{platform.url}/jobs", json=body)
    assert answer.status == 400


async def test_what_is_counted_can_be_asked_over_http(platform: FakePlatform, http: HttpClient) -> None:
    operations: list[Operation] = ["submit"]
    fault = {"action": "lose", "operations": operations, "committed": True, "times": 1}
    await http.request("POST", f"{platform.url}/_faults", json=[fault])
    with pytest.raises(Unavailable):
        await create(connector(NativeConnector, platform), http)
    assert (await http.request("GET", f"{platform.url}/_faults")).json()["faults"][0]["hits"] == 1
    await http.request("DELETE", f"{platform.url}/_faults")
    await create(connector(NativeConnector, platform), http)
    await http.request("POST", f"{platform.url}/_jobs/job-000001/end", json={"state": "FAILED"})
    await http.request("POST", f"{platform.url}/_age", json={"seconds": 3600})
    shown = (await http.request("GET", f"{platform.url}/_jobs")).json()
    (job,) = shown["jobs"]
    assert (job["key"], job["submissions"], job["state"]) == ("k", 2, "FAILED")
    assert datetime.fromisoformat(job["created"]) < datetime.now(UTC) - timedelta(seconds=3599)
    assert shown["requests"] == {"submit": 2}
    assert shown["at_once"] == {"s3://bucket/run/n0": 1}


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "connectors.testing.platform", "--token", "t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            shown = subprocess.run(
                [sys.executable, "-c", f"import urllib.request as r; print(r.urlopen('{url}/_jobs').read().decode())"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert json.loads(shown.stdout)["jobs"] == []
        finally:
            process.terminate()
        assert process.wait(30) == 0


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    async with FakePlatform() as platform:
        port = platform.url.rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "connectors.testing.platform", "--port", port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    said = f"the platform cannot be served at 127.0.0.1:{port}: Address already in use; name another by --port\n"
    assert err.decode() == said
