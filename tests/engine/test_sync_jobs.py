"""``do`` as a job, as on Flyte 2: CreateTask starts it, and GetTask delivers its result."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from connectors import Context, InvalidRequest, Phase, Resource, Unavailable
from connectors._engine.options import ConnectorLimits
from connectors._engine.outcome import AdmissionRefused
from connectors._engine.sync_calls import SyncJob
from connectors._stores.memory import MemoryStore
from connectors._stores.store import Payload, StoreUnavailable
from tests.engine.echoes import FLYTE2, echo, until_terminal
from tests.engine.harness import Bench, Echo, create_request, job_request

pytestmark = pytest.mark.anyio


async def test_as_a_job_create_answers_at_once_and_get_delivers(bench: Bench) -> None:
    async def slow(ctx: Context) -> Resource:
        await anyio.sleep(25)
        return Resource(Phase.SUCCEEDED, outputs=dict(ctx.inputs))

    bench.echo.on_do = slow
    async with bench.engine() as engine:
        meta = await engine.create(echo(FLYTE2))
        assert asyncio.get_running_loop().time() == 0
        assert (await engine.get(job_request(meta, "echo", FLYTE2))).phase is Phase.RUNNING
        assert await until_terminal(engine, meta) == Resource(Phase.SUCCEEDED, outputs={"v": 7})
        assert await until_terminal(engine, meta) == Resource(Phase.SUCCEEDED, outputs={"v": 7})
    assert bench.echo.calls == 1


async def test_a_repeated_create_of_a_job_starts_nothing(bench: Bench) -> None:
    async with bench.engine() as engine:
        metas = {await engine.create(echo(FLYTE2)) for _ in range(2)}
        (meta,) = metas
        await until_terminal(engine, meta)
        assert await engine.create(echo(FLYTE2)) == meta
    assert bench.echo.calls == 1


@pytest.mark.parametrize(
    ("error", "phase"),
    [(InvalidRequest("no message"), Phase.FAILED), (Unavailable("HTTP 503"), Phase.RETRYABLE_FAILED)],
    ids=["for good", "may pass"],
)
async def test_a_failed_job_says_why_and_whether_to_retry(bench: Bench, error: Exception, phase: Phase) -> None:
    def fail(ctx: Context) -> Resource:
        raise error

    bench.echo.on_do = fail
    async with bench.engine() as engine:
        resource = await until_terminal(engine, await engine.create(echo(FLYTE2)))
    assert resource.phase is phase
    assert str(error) in resource.message


async def test_a_bug_in_a_job_is_a_failure_with_an_id(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: 1 / 0
    async with bench.engine() as engine:
        resource = await until_terminal(engine, await engine.create(echo(FLYTE2)))
    assert resource.phase is Phase.FAILED
    assert "error id" in resource.message
    assert "division" not in resource.message


async def test_a_result_too_large_to_keep_fails_the_job(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED, outputs={"o0": "x" * 1_000})
    async with bench.engine(result_max_bytes=500) as engine:
        resource = await until_terminal(engine, await engine.create(echo(FLYTE2)))
    assert resource.phase is Phase.FAILED
    assert "500 bytes" in resource.message


async def test_a_server_that_does_not_know_the_job_waits_for_the_one_that_runs_it(bench: Bench) -> None:
    async def slow(ctx: Context) -> Resource:
        await anyio.sleep(40)
        return Resource(Phase.SUCCEEDED)

    bench.echo.on_do = slow
    async with bench.engine() as one, bench.engine() as two:
        meta = await one.create(echo(FLYTE2))
        assert (await until_terminal(two, meta)).phase is Phase.SUCCEEDED
    assert bench.echo.calls == 1


async def test_a_job_whose_server_died_is_run_again_by_another(bench: Bench) -> None:
    started = anyio.Event()

    async def first(ctx: Context) -> Resource:
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    bench.echo.on_do = first
    async with bench.engine() as one:
        meta = await one.create(echo(FLYTE2))
        await started.wait()
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED, outputs=dict(ctx.inputs))
    async with bench.engine() as two:
        assert (await until_terminal(two, meta)).outputs == {"v": 7}
    assert bench.echo.calls == 2


async def test_a_job_that_no_store_knows_uses_a_retry(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = b'{"sync_key":"6b9f3a64-0000-5000-8000-000000000000"}'
        resource = await engine.get(job_request(meta, "echo", FLYTE2))
    assert resource.phase is Phase.RETRYABLE_FAILED


async def test_a_deleted_job_is_aborted_and_its_call_is_ended(bench: Bench) -> None:
    ended = anyio.Event()

    async def slow(ctx: Context) -> Resource:
        try:
            await anyio.sleep(100)
        finally:
            ended.set()
        return Resource(Phase.SUCCEEDED)

    bench.echo.on_do = slow
    async with bench.engine() as engine:
        meta = await engine.create(echo(FLYTE2))
        await anyio.sleep(1)
        await engine.delete(job_request(meta, "echo", FLYTE2))
        await ended.wait()
        assert (await engine.get(job_request(meta, "echo", FLYTE2))).phase is Phase.ABORTED
    assert bench.echo.calls == 1


async def test_a_deleted_job_never_runs_again(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: anyio.sleep(100)
    async with bench.engine(result_ttl=10) as engine:
        meta = await engine.create(echo(FLYTE2))
        await engine.delete(job_request(meta, "echo", FLYTE2))
        await anyio.sleep(20)
        assert (await engine.get(job_request(meta, "echo", FLYTE2))).phase.is_terminal
    assert bench.echo.calls == 1


async def test_a_create_after_its_result_ran_out_runs_again(bench: Bench) -> None:
    async with bench.engine(result_ttl=10) as engine:
        meta = await engine.create(echo(FLYTE2))
        await until_terminal(engine, meta)
        await anyio.sleep(20)
        assert (await engine.get(job_request(meta, "echo", FLYTE2))).phase is Phase.RETRYABLE_FAILED
        assert await engine.create(echo(FLYTE2)) == meta
        assert (await until_terminal(engine, meta)).phase is Phase.SUCCEEDED
    assert bench.echo.calls == 2


async def test_64_identical_creates_of_a_job_at_once_run_it_once(bench: Bench) -> None:
    metas: set[bytes] = set()
    async with bench.engine() as engine, anyio.create_task_group() as callers:

        async def call() -> None:
            metas.add(await engine.create(echo(FLYTE2)))

        for _ in range(64):
            callers.start_soon(call)
    assert len(metas) == 1
    assert bench.echo.calls == 1


async def test_many_polls_of_a_job_whose_server_died_run_it_once(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: anyio.sleep_forever()
    async with bench.engine() as one:
        meta = await one.create(echo(FLYTE2))
    bench.echo.calls = 0
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED)
    async with bench.engine() as two, anyio.create_task_group() as callers:
        for _ in range(16):
            callers.start_soon(until_terminal, two, meta)
    assert bench.echo.calls == 1


async def test_a_repeat_of_a_running_job_needs_no_slot(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: anyio.sleep(30)
    async with bench.engine(limits=ConnectorLimits(concurrency=1, queue=0)) as engine:
        meta = await engine.create(echo(FLYTE2))
        assert await engine.create(echo(FLYTE2)) == meta


async def test_a_job_counts_against_the_limit_while_it_runs(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: anyio.sleep(30)
    async with bench.engine(limits=ConnectorLimits(concurrency=1)) as engine:
        await engine.create(echo(FLYTE2, prefix="s3://1"))
        with pytest.raises(AdmissionRefused):
            await engine.create(echo(FLYTE2, prefix="s3://2"))


class _LateLoads(MemoryStore):
    """Another server's result arrives between this one's first look and its claim."""

    hold: anyio.Event | None = None

    async def load(self, key: str, kind: Payload) -> bytes | None:
        found = await super().load(key, kind)
        if self.hold is not None:
            hold, self.hold = self.hold, None
            await hold.wait()
        return found


async def test_a_poll_while_another_server_finishes_finds_the_result(bench: Bench) -> None:
    store = _LateLoads()
    await store.start()
    bench.store = store
    go_on = anyio.Event()

    async def slow(ctx: Context) -> Resource:
        await go_on.wait()
        return Resource(Phase.SUCCEEDED)

    bench.echo.on_do = slow
    async with bench.engine() as one, bench.engine() as two:
        meta = await one.create(echo(FLYTE2))
        store.hold = looked = anyio.Event()
        poll = asyncio.create_task(two.get(job_request(meta, "echo", FLYTE2)))
        await anyio.sleep(1)
        go_on.set()
        await anyio.sleep(1)
        looked.set()
        assert (await poll).phase is Phase.SUCCEEDED
    assert bench.echo.calls == 1


class Other(Echo):
    task_type = "other"


async def test_the_meta_of_another_sync_connector_leads_to_none_of_its_results(bench: Bench) -> None:
    bench.extra = (Other(),)
    async with bench.engine() as engine:
        meta = await engine.create(echo(FLYTE2))
        await until_terminal(engine, meta)
        resource = await engine.get(job_request(meta, "other", FLYTE2))
    assert resource.phase is Phase.RETRYABLE_FAILED
    assert bench.extra[0].calls == 0


async def test_a_forged_meta_does_not_reach_an_async_create(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(5)
    async with bench.engine() as engine:
        create = asyncio.create_task(engine.create(create_request("acme")))
        await anyio.sleep(1)
        forged = SyncJob(bench.acme.keys[0]).encode()
        await engine.get(job_request(forged, "echo", FLYTE2))
        await engine.delete(job_request(forged, "echo", FLYTE2))
        meta = await create
        assert await engine.create(create_request("acme")) == meta
    assert len(bench.acme.keys) == 1


class _StoreGoneOnResuming(MemoryStore):
    """Answers a poll's own look, and then goes away."""

    error: Exception | None = None
    looks = 0

    async def load(self, key: str, kind: Payload) -> bytes | None:
        self.looks += 1
        if self.error is not None and self.looks > 1:
            raise self.error
        return await super().load(key, kind)


@pytest.mark.parametrize("error", [StoreUnavailable(), ValueError("a payload in the store is not one")], ids=repr)
@pytest.mark.parametrize("answers_first", [True, False])
async def test_a_poll_of_a_job_is_never_an_error_whatever_the_store_does(
    bench: Bench, error: Exception, answers_first: bool
) -> None:
    bench.echo.on_do = lambda ctx: anyio.sleep_forever()
    bench.store = store = _StoreGoneOnResuming()
    await store.start()
    async with bench.engine() as one:
        meta = await one.create(echo(FLYTE2))
        await anyio.sleep(1)
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED)
    async with bench.engine() as two:
        store.error, store.looks = error, 0 if answers_first else 1
        assert (await two.get(job_request(meta, "echo", FLYTE2))).phase is Phase.RUNNING
        assert bench.events[-1].shielded
        store.error = None
        await anyio.sleep(120)
        assert (await until_terminal(two, meta)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("key", ["", "x", "../acme", "6b9f3a64"])
async def test_a_sync_meta_whose_key_is_no_uuid_is_refused(bench: Bench, key: str) -> None:
    async with bench.engine() as engine:
        with pytest.raises(InvalidRequest, match="sync_key"):
            await engine.get(job_request(SyncJob(key).encode(), "echo", FLYTE2))


async def test_drain_waits_for_what_is_under_way(bench: Bench) -> None:
    async def slow(ctx: Context) -> Resource:
        await anyio.sleep(5)
        return Resource(Phase.SUCCEEDED)

    bench.echo.on_do = slow
    async with bench.engine() as engine:
        await engine.create(echo(FLYTE2))
        await engine.drain()
        assert asyncio.get_running_loop().time() == pytest.approx(5)
