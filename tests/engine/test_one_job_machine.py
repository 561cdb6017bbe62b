"""The state machine of ARCHITECTURE.md under random histories, over every store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from connectors._stores import Store
from connectors._stores.memory import MemoryStore
from connectors._stores.sqlite import SqliteStore
from tests.engine.one_job_machine import OneJob
from tests.stores import postgres_server as postgres
from tests.stores import redis_server as redis

Clock = Callable[[], float]
Stores = Callable[[Clock], contextlib.AbstractAsyncContextManager[Store]]


@contextlib.asynccontextmanager
async def started(store: Store) -> AsyncIterator[Store]:
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


@contextlib.asynccontextmanager
async def in_memory(clock: Clock) -> AsyncIterator[Store]:
    async with started(MemoryStore(clock=clock)) as store:
        yield store


@contextlib.asynccontextmanager
async def on_sqlite(clock: Clock) -> AsyncIterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        async with started(SqliteStore(Path(folder) / "store.db", clock=clock)) as store:
            yield store


def run(stores: Stores, *, examples: int, dedupe: Literal["native", "search"], inline: bool) -> None:
    machine = type("OneJobMachine", (OneJob,), {"stores": staticmethod(stores), "dedupe": dedupe, "inline": inline})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.parametrize("inline", [True, False], ids=["inline results", "results under a prefix"])
@pytest.mark.parametrize("dedupe", ["native", "search"])
def test_one_job_over_memory(dedupe: Literal["native", "search"], inline: bool) -> None:
    run(in_memory, examples=int(__import__("os").environ.get("EX","60")), dedupe=dedupe, inline=inline)


@pytest.mark.parametrize("dedupe", ["native", "search"])
def test_one_job_over_sqlite(dedupe: Literal["native", "search"]) -> None:
    run(on_sqlite, examples=12, dedupe=dedupe, inline=False)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := redis.available():
        pytest.skip(reason)
    with redis.redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.mark.parametrize("dedupe", ["native", "search"])
def test_one_job_over_redis(redis_url: str, dedupe: Literal["native", "search"]) -> None:
    from connectors._stores.redis import RedisStore

    @contextlib.asynccontextmanager
    async def on_redis(clock: Clock) -> AsyncIterator[Store]:
        redis.flush(redis_url)
        async with started(RedisStore(redis_url, clock=clock)) as store:
            yield store

    run(on_redis, examples=8, dedupe=dedupe, inline=True)


@pytest.mark.parametrize("dedupe", ["native", "search"])
def test_one_job_over_postgresql(dedupe: Literal["native", "search"]) -> None:
    from connectors._stores.postgresql import PostgresStore

    if reason := postgres.available():
        pytest.skip(reason)
    with postgres.postgres_server() as server:

        @contextlib.asynccontextmanager
        async def on_postgresql(clock: Clock) -> AsyncIterator[Store]:
            async with started(PostgresStore(server.new_database(), clock=clock)) as store:
                yield store

        run(on_postgresql, examples=6, dedupe=dedupe, inline=False)
