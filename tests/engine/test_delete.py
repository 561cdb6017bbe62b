"""DeleteTask: remembered first, then carried out; what cannot be carried out in time is carried out later."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from connectors import (
    ConnectorError,
    Context,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Phase,
    RateLimited,
    Resource,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from connectors._engine.options import ConnectorLimits
from connectors._engine.outcome import ConnectorBug
from connectors._engine.requests import Caller
from connectors._stores import Attention, Deletion, Record
from tests.engine.callers import hearing, job_of_attempt, raising, record_of
from tests.engine.harness import Bench, Job, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio

META = Job("j1").encode()
PASSING = [
    Unavailable("HTTP 503"),
    RateLimited("HTTP 429"),
    Unauthenticated("HTTP 401"),
    PermissionDenied("HTTP 403"),
    ConnectorError("odd"),
    KeyError("a bug"),
]
LASTING = [InvalidRequest("that host is not ours"), Unimplemented("acme cancels nothing")]


def name(value: object) -> str:
    return type(value).__name__


@pytest.fixture
async def store(bench: Bench) -> UnreachableStore:
    bench.store = store = UnreachableStore()
    await store.start()
    return store


async def phase_of(engine: Any, meta: bytes) -> Phase:
    resource: Resource = await engine.get(job_request(meta))
    return resource.phase


async def test_delete_reaches_the_connector_each_time(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.delete(job_request(META))
        await engine.delete(job_request(META))
    assert bench.acme.deletes == 2


async def test_delete_of_a_missing_job_is_quiet(bench: Bench) -> None:
    bench.acme.on_delete = raising(NotFound())
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.delete(job_request(meta))
        assert (await record_of(bench.store, meta)).deletion is Deletion.DONE
    assert bench.events[-1].status == "OK"
    assert not bench.events[-1].shielded


async def test_the_store_knows_before_the_platform_does(bench: Bench) -> None:
    seen: list[Deletion] = []

    async def look(ctx: Context) -> None:
        seen.append((await record_of(bench.store, meta)).deletion)

    bench.acme.on_delete = look
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.delete(job_request(meta))
        record = await record_of(bench.store, meta)
    assert seen == [Deletion.WANTED]
    assert (record.deletion, record.reason) == (Deletion.DONE, "deleted by the caller")


async def test_a_job_that_the_store_never_heard_of_is_remembered_as_well(bench: Bench) -> None:
    async with bench.engine() as one, bench.engine() as two:
        await one.delete(job_request(META))
        assert await phase_of(two, META) is Phase.ABORTED


async def test_of_a_job_that_the_store_never_heard_of_only_what_the_connector_knows_is_kept(bench: Bench) -> None:
    sent = b'{"name": "j1", "auth_token": "fake-token"}'
    bench.acme.on_delete = raising(Unavailable())
    async with bench.engine() as one, bench.engine() as two:
        await one.delete(job_request(sent))
        record = await record_of(bench.store, sent)
        assert record.meta == META
        assert await phase_of(two, sent) is Phase.ABORTED
        bench.acme.on_delete = lambda ctx: None
        await anyio.sleep(70)
        assert (await record_of(bench.store, sent)).deletion is Deletion.DONE


@pytest.mark.parametrize("fault", PASSING, ids=name)
async def test_what_cannot_be_carried_out_now_is_remembered_and_a_success(bench: Bench, fault: Exception) -> None:
    bench.acme.on_delete = raising(fault)
    async with bench.engine() as one, bench.engine() as two:
        meta = await job_of_attempt(one)
        await one.delete(job_request(meta))
        event = bench.events[-1]
        assert (event.operation, event.status, event.shielded) == ("delete", "OK", True)
        assert (await record_of(bench.store, meta)).deletion is Deletion.WANTED
        assert [await phase_of(engine, meta) for engine in (one, two)] == [Phase.ABORTED] * 2


@pytest.mark.parametrize("fault", PASSING, ids=name)
async def test_what_is_remembered_is_carried_out_when_the_fault_is_over(bench: Bench, fault: Exception) -> None:
    bench.acme.on_delete = raising(fault)
    async with bench.engine(limits=ConnectorLimits(attempts=1)) as engine:
        meta = await job_of_attempt(engine)
        await engine.delete(job_request(meta))
        bench.acme.on_delete = lambda ctx: None
        await anyio.sleep(60)
        assert (await record_of(bench.store, meta)).deletion is Deletion.DONE
        assert await phase_of(engine, meta) is Phase.ABORTED
    assert bench.acme.deletes == 2


async def test_a_platform_that_hangs_is_remembered_before_the_deadline(bench: Bench) -> None:
    bench.acme.on_delete = lambda ctx: anyio.sleep(3_600)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        before = asyncio.get_running_loop().time()
        await engine.delete(job_request(meta))
        assert asyncio.get_running_loop().time() - before < 9.6
        assert (await record_of(bench.store, meta)).deletion is Deletion.WANTED


async def test_a_delete_over_the_limit_is_remembered(bench: Bench) -> None:
    async with bench.engine(limits=ConnectorLimits(concurrency=1, queue=0)) as engine:
        meta = await job_of_attempt(engine)
        bench.acme.on_get = lambda ctx: anyio.sleep(5)
        other = asyncio.create_task(engine.get(job_request(Job("slow").encode())))
        await anyio.sleep(1)
        await engine.delete(job_request(meta))
        assert (await record_of(bench.store, meta)).deletion is Deletion.WANTED
        await other


async def test_a_caller_that_gives_up_has_its_delete_carried_out(bench: Bench) -> None:
    bench.acme.on_delete = lambda ctx: anyio.sleep(5)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        call = asyncio.create_task(engine.delete(job_request(meta)))
        await anyio.sleep(1)
        call.cancel()
        await anyio.sleep(60)
        assert (await record_of(bench.store, meta)).deletion is Deletion.DONE


# --- the store is out of reach


async def test_a_delete_is_carried_out_without_the_store(bench: Bench, store: UnreachableStore) -> None:
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        store.down = True
        await engine.delete(job_request(meta))
        assert await phase_of(engine, meta) is Phase.ABORTED
    assert bench.acme.deletes == 1


@pytest.mark.parametrize("fault", PASSING, ids=name)
async def test_what_can_neither_be_carried_out_nor_remembered_is_an_error(
    bench: Bench, store: UnreachableStore, fault: Exception
) -> None:
    bench.acme.on_delete = raising(fault)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        store.down = True
        with pytest.raises(type(fault) if isinstance(fault, ConnectorError) else ConnectorBug):
            await engine.delete(job_request(meta))
        assert await phase_of(engine, meta) is Phase.RUNNING
    assert bench.acme.deletes > 0


async def test_what_was_remembered_stays_aborted_when_the_store_goes_away(
    bench: Bench, store: UnreachableStore
) -> None:
    bench.acme.on_delete = raising(Unavailable())
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.delete(job_request(meta))
        store.down = True
        assert await phase_of(engine, meta) is Phase.ABORTED


class HangingStore(UnreachableStore):
    hangs = False

    async def find_job(self, job: str) -> Record | None:
        if self.hangs:
            await anyio.sleep(3_600)
        return await super().find_job(job)


async def test_a_store_that_hangs_leaves_time_for_the_platform(bench: Bench) -> None:
    bench.store = store = HangingStore()
    await store.start()
    store.hangs = True
    async with bench.engine() as engine:
        await engine.delete(job_request(META, caller=Caller("flyte1", deadline=5.0)))
        assert asyncio.get_running_loop().time() < 2.5
    assert bench.acme.deletes == 1


# --- what will never be possible


@pytest.mark.parametrize("error", LASTING, ids=name)
async def test_what_will_never_be_possible_is_an_error_and_not_tried_again(bench: Bench, error: Exception) -> None:
    bench.acme.on_delete = raising(error)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        with pytest.raises(type(error)):
            await engine.delete(job_request(meta))
        await anyio.sleep(3_600)
        record = await record_of(bench.store, meta)
    assert bench.acme.deletes == 1
    assert record.attention() is Attention.NONE
    assert str(error) in record.reason


@pytest.mark.parametrize("error", LASTING, ids=name)
async def test_what_will_never_be_possible_leaves_no_record_of_a_job_that_was_not_known(
    bench: Bench, error: Exception
) -> None:
    bench.acme.on_delete = raising(error)
    async with bench.engine() as engine:
        with pytest.raises(type(error)):
            await engine.delete(job_request(META))
    assert [record async for record in bench.store.records()] == []


async def test_what_was_given_up_is_tried_again_when_it_is_asked_for_again(bench: Bench) -> None:
    bench.acme.on_delete = raising(InvalidRequest())
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        with pytest.raises(InvalidRequest):
            await engine.delete(job_request(meta))
        bench.acme.on_delete = raising(Unavailable())
        await engine.delete(job_request(meta))
        bench.acme.on_delete = lambda ctx: None
        await anyio.sleep(70)
        assert (await record_of(bench.store, meta)).deletion is Deletion.DONE


# --- a job that is over


async def test_a_job_whose_end_was_delivered_needs_no_later_try(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: Resource(Phase.SUCCEEDED)
    bench.acme.on_delete = raising(Unavailable())
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.get(job_request(meta, caller=hearing(True)))
        await anyio.sleep(1)
        await engine.delete(job_request(meta))
        tried = bench.acme.deletes
        await anyio.sleep(3_600)
        assert await phase_of(engine, meta) is Phase.SUCCEEDED
    assert bench.acme.deletes == tried
