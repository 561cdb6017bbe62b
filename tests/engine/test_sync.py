"""``do``: answered at once on Flyte 1, run as a job on Flyte 2."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import anyio
import pytest

from connectors import Conflict, Context, InvalidRequest, Phase, Resource, Unavailable, Unimplemented
from connectors._engine.engine import Engine
from connectors._engine.options import ConnectorLimits
from connectors._engine.outcome import AdmissionRefused, ConnectorBug
from connectors._engine.requests import Caller
from connectors._engine.sync_calls import SyncJob
from connectors._stores.memory import MemoryStore
from connectors._stores.store import Payload, StoreUnavailable
from connectors.context import Protocol
from tests.engine.harness import Bench, Echo, create_request, job_request

pytestmark = pytest.mark.anyio

FLYTE2 = Caller("flyte2", secrets={"key": "fake-key"})


def echo(caller: Caller | None = None, **options: Any) -> Any:
    return create_request("echo", inputs={"v": 7}, caller=caller, **options)


async def until_terminal(engine: Engine, meta: bytes) -> Resource:
    while True:
        resource = await engine.get(job_request(meta, "echo", FLYTE2))
        if resource.phase.is_terminal:
            return resource
        await anyio.sleep(1)


async def test_do_answers_with_its_outputs(bench: Bench) -> None:
    async with bench.engine() as engine:
        assert await engine.do(echo()) == Resource(Phase.SUCCEEDED, outputs={"v": 7})
    assert bench.events[-1].operation == "do"


async def test_the_same_request_again_gets_the_stored_result(bench: Bench) -> None:
    async with bench.engine() as engine:
        assert await engine.do(echo()) == await engine.do(echo())
    assert bench.echo.calls == 1
    assert [event.repeated for event in bench.events] == [False, True]


async def test_another_server_gives_the_stored_result_too(bench: Bench) -> None:
    async with bench.engine() as one, bench.engine() as two:
        assert await one.do(echo()) == await two.do(echo())
    assert bench.echo.calls == 1


async def test_a_stored_result_is_short_lived(bench: Bench) -> None:
    async with bench.engine(result_ttl=60) as engine:
        await engine.do(echo())
        await anyio.sleep(61)
        await engine.do(echo())
    assert bench.echo.calls == 2


async def test_a_result_over_the_bound_is_given_but_not_kept(bench: Bench) -> None:
    async with bench.engine(result_max_bytes=10) as engine:
        for _ in range(2):
            assert (await engine.do(echo())).outputs == {"v": 7}
    assert bench.echo.calls == 2


async def test_a_failed_do_frees_its_key(bench: Bench) -> None:
    def refuse(ctx: Context) -> Resource:
        raise InvalidRequest("no message")

    bench.echo.on_do = refuse
    async with bench.engine() as engine:
        for _ in range(2):
            with pytest.raises(InvalidRequest):
                await engine.do(echo())
    assert bench.echo.calls == 2


@pytest.mark.parametrize(
    "answer",
    [Resource(Phase.RUNNING), Resource(3), None, "done"],  # type: ignore[arg-type]
    ids=repr,
)
async def test_what_is_no_terminal_resource_is_a_bug_and_ends_a_job(bench: Bench, answer: Any) -> None:
    bench.echo.on_do = lambda ctx: answer
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug):
            await engine.do(echo())
        bench.echo.calls = 0
        resource = await until_terminal(engine, await engine.create(echo(FLYTE2)))
        assert (resource.phase, bench.echo.calls) == (Phase.FAILED, 1)


async def test_an_output_that_cannot_be_written_is_a_bug(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED, outputs={"o0": object()})
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug):
            await engine.do(echo())


async def test_each_kind_refuses_the_other_s_call(bench: Bench) -> None:
    async with bench.engine() as engine:
        with pytest.raises(Unimplemented, match="CreateTask"):
            await engine.do(create_request("acme"))
        with pytest.raises(Unimplemented, match="ExecuteTaskSync"):
            await engine.create(echo())
        with pytest.raises(Unimplemented, match="ExecuteTaskSync"):
            await engine.get(job_request(b"{}", "echo"))


# --- as a job


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


@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_an_explicit_key_belongs_to_one_call_also_when_it_is_over(bench: Bench, protocol: Protocol) -> None:
    caller = Caller(protocol, idempotency_key="mine")
    async with bench.engine() as engine:
        first = create_request("echo", inputs={"v": 1}, caller=caller)
        if protocol == "flyte1":
            assert await engine.do(first) == await engine.do(first)
            with pytest.raises(Conflict):
                await engine.do(create_request("echo", inputs={"v": 2}, caller=caller))
        else:
            meta = await engine.create(first)
            await until_terminal(engine, meta)
            assert await engine.create(first) == meta
            with pytest.raises(Conflict):
                await engine.create(create_request("echo", inputs={"v": 2}, caller=caller))
    assert bench.echo.calls == 1


class _FullStore(MemoryStore):
    """Keeps no result."""

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        raise StoreUnavailable("the disk is full")


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(bench: Bench) -> None:
    bench.store = _FullStore()
    await bench.store.start()
    async with bench.engine() as engine:
        assert (await engine.do(echo())).outputs == {"v": 7}
    assert asyncio.get_running_loop().time() == 0


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


# --- a new run of the same name


class Answered:
    """A caller whose answers leave at once, and who is there."""

    def caller(self, protocol: Literal["flyte1", "flyte2"] = "flyte2", key: str = "") -> Caller:
        return Caller(protocol, idempotency_key=key, on_answered=self.told.append)

    def __init__(self) -> None:
        self.told: list[Callable[[bool], None]] = []

    async def leave(self, *, delivered: bool = True) -> None:
        for callback in self.told:
            callback(delivered)
        self.told.clear()
        await anyio.sleep(1)


async def run_to_its_end(engine: Engine, answered: Answered, *, delivered: bool = True, key: str = "") -> bytes:
    meta = await engine.create(echo(answered.caller(key=key)))
    await until_terminal(engine, meta)
    await engine.get(job_request(meta, "echo", answered.caller()))
    await answered.leave(delivered=delivered)
    return meta


@pytest.mark.parametrize(("later", "calls"), [(590, 1), (610, 2)])
async def test_the_same_create_10_minutes_after_its_result_was_given_is_a_new_run(
    bench: Bench, later: float, calls: int
) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        await run_to_its_end(engine, answered)
        await anyio.sleep(later)
        await run_to_its_end(engine, answered)
    assert bench.echo.calls == calls


async def test_a_result_that_reached_nobody_is_kept_for_the_repeat(bench: Bench) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        await run_to_its_end(engine, answered, delivered=False)
        await anyio.sleep(700)
        await run_to_its_end(engine, answered)
    assert bench.echo.calls == 1


async def test_a_key_that_the_caller_chose_has_one_result(bench: Bench) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        await run_to_its_end(engine, answered, key="mine")
        await anyio.sleep(700)
        await run_to_its_end(engine, answered, key="mine")
    assert bench.echo.calls == 1


async def test_a_create_after_a_delete_is_a_new_run(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: _slow_success()
    async with bench.engine() as engine:
        meta = await engine.create(echo(FLYTE2))
        await engine.delete(job_request(meta, "echo", FLYTE2))
        assert (await engine.get(job_request(meta, "echo", FLYTE2))).phase is Phase.ABORTED
        again = await engine.create(echo(FLYTE2))
        await anyio.sleep(3)
        assert (await engine.get(job_request(again, "echo", FLYTE2))).phase is Phase.SUCCEEDED
    assert bench.echo.calls == 2


async def _slow_success() -> Resource:
    await anyio.sleep(1)
    return Resource(Phase.SUCCEEDED)


async def test_a_call_that_answers_at_once_is_made_anew_10_minutes_after_its_answer_left(bench: Bench) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        for _ in range(2):
            await engine.do(echo(answered.caller("flyte1")))
            await answered.leave()
        await anyio.sleep(610)
        await engine.do(echo(answered.caller("flyte1")))
    assert bench.echo.calls == 2
