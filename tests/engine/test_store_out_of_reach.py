"""The store is gone for a while: what goes on, what waits, and what is made up for when it is back."""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio
import pytest

from connectors import Unavailable
from connectors._engine.engine import Engine
from connectors._engine.requests import Caller
from connectors._stores import State, StoreUnavailable
from tests.engine.callers import hearing
from tests.engine.harness import Bench, create_request
from tests.engine.job_platform import JobConnector, Platform, in_seconds
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(bench: Bench) -> UnreachableStore:
    store = UnreachableStore()
    await store.start()
    bench.store = store
    return store


def platform_of(bench: Bench, dedupe: Literal["native", "search", "none"]) -> Platform:
    platform = Platform()
    bench.extra = (JobConnector(platform, dedupe),)
    return platform


async def create(engine: Engine, attempt: int = 0, *, seconds: float = 10) -> bytes:
    request = create_request(
        "jobs", prefix=f"s3://b/run/n0/{attempt}", caller=Caller("flyte1", deadline=in_seconds(seconds))
    )
    return await engine.create(request)


async def test_creates_go_on_where_the_platform_dedupes_and_repeats_get_the_first_job(
    bench: Bench, store: UnreachableStore
) -> None:
    platform = platform_of(bench, "native")
    store.down = True
    async with bench.engine() as one, bench.engine() as two:
        assert await create(one) == await create(two)
    assert len(platform.jobs) == 1


async def test_a_job_that_was_made_meanwhile_is_written_down_when_the_store_is_back(
    bench: Bench, store: UnreachableStore
) -> None:
    platform = platform_of(bench, "native")
    store.down = True
    async with bench.engine() as engine:
        meta = await create(engine)
        await anyio.sleep(60)
        store.down = False
        await anyio.sleep(6)
        record = await store.find(platform.jobs[0].key)
        assert record is not None
        assert (record.state, record.meta) == (State.DONE, meta)
        assert record.subject["execution"] == "ex1"


async def test_a_job_whose_end_could_not_be_written_is_written_down_when_the_store_is_back(
    bench: Bench, store: UnreachableStore
) -> None:
    platform = platform_of(bench, "search")
    platform.latency = 5.0

    async with bench.engine() as engine:
        call = asyncio.create_task(create(engine))
        await anyio.sleep(4.9)
        store.down = True
        meta = await call
        await anyio.sleep(30)
        store.down = False
        await anyio.sleep(6)
        assert await create(engine) == meta
        assert bench.events[-1].repeated
    assert len(platform.jobs) == 1


@pytest.mark.parametrize("dedupe", ["search", "none"])
async def test_the_others_wait_to_the_deadline_less_the_margin_and_are_unavailable(
    bench: Bench, store: UnreachableStore, dedupe: Literal["search", "none"]
) -> None:
    platform = platform_of(bench, dedupe)
    store.down = True
    async with bench.engine() as engine:
        with pytest.raises(StoreUnavailable):
            await create(engine)
        assert 8.4 <= asyncio.get_running_loop().time() <= 9.5
    assert platform.jobs == []
    assert bench.events[-1].status == "UNAVAILABLE"


async def test_the_others_go_on_as_soon_as_the_store_is_back(bench: Bench, store: UnreachableStore) -> None:
    platform = platform_of(bench, "search")
    store.down = True
    async with bench.engine() as engine:
        call = asyncio.create_task(create(engine))
        await anyio.sleep(5)
        store.down = False
        await call
        assert asyncio.get_running_loop().time() < 6.1
    assert len(platform.jobs) == 1


async def test_a_later_attempt_waits_since_the_one_before_may_still_run(bench: Bench, store: UnreachableStore) -> None:
    platform = platform_of(bench, "native")
    async with bench.engine() as engine:
        await create(engine, 0)
        store.down = True
        with pytest.raises(Unavailable):
            await create(engine, 1)
        store.down = False
        await create(engine, 1)
    assert platform.cancelled == ["job0"]


async def test_where_the_platform_does_not_dedupe_a_create_does_not_outlive_its_lease(
    bench: Bench, store: UnreachableStore
) -> None:
    platform = platform_of(bench, "search")
    platform.latency = 40.0
    async with bench.engine() as one, bench.engine() as two:
        first = asyncio.create_task(create(one, seconds=60))
        await anyio.sleep(1)
        store.down = True
        with pytest.raises(Unavailable):
            await first
        assert asyncio.get_running_loop().time() <= 1 + bench.options.lease
        store.down = False
        await create(two, seconds=60)
        await anyio.sleep(60)
    assert len(platform.jobs) == 1


async def test_where_the_platform_dedupes_a_create_outlives_its_lease(bench: Bench, store: UnreachableStore) -> None:
    platform = platform_of(bench, "native")
    platform.latency = 40.0
    async with bench.engine() as engine:
        first = asyncio.create_task(create(engine, seconds=60))
        await anyio.sleep(1)
        store.down = True
        await first
    assert len(platform.jobs) == 1


@pytest.mark.parametrize("heard", [False, True])
async def test_what_became_of_the_answer_is_known_also_of_a_job_that_was_made_meanwhile(
    bench: Bench, store: UnreachableStore, heard: bool
) -> None:
    platform = platform_of(bench, "native")
    store.down = True
    async with bench.engine() as engine:
        await engine.create(create_request("jobs", caller=hearing(heard, deadline=in_seconds(10))))
        await anyio.sleep(60)
        store.down = False
        await anyio.sleep(1_300)
    assert platform.cancelled == ([] if heard else ["job0"])
