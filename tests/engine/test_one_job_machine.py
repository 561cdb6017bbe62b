"""The state machine of ARCHITECTURE.md under random histories, over every store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from connectors._stores import Store
from connectors._stores.memory import MemoryStore
from connectors._stores.postgresql import PostgresStore
from connectors._stores.redis import RedisStore
from connectors._stores.sqlite import SqliteStore
from tests.engine.one_job_machine import OneJob
from tests.engine.one_job_servers import Clock, Stores
from tests.stores import postgres_server, redis_server

Dedupe = Literal["native", "search"]
pytestmark = pytest.mark.parametrize("dedupe", ["native", "search"])


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


def run(stores: Stores, *, examples: int, dedupe: Dedupe, inline: bool) -> None:
    members = {"stores": staticmethod(stores), "dedupe": dedupe, "inline": inline}
    run_state_machine_as_test(
        type("OneJobMachine", (OneJob,), members),
        settings=settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,  # the same histories each time; without it, a long run looks for new ones
            stateful_step_count=30,
            # making a failing history short takes minutes: Phase.shrink is for whoever looks into it
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.parametrize("inline", [True, False], ids=["inline results", "results under a prefix"])
def test_one_job_over_memory(dedupe: Dedupe, inline: bool) -> None:
    run(in_memory, examples=40, dedupe=dedupe, inline=inline)


def test_one_job_over_sqlite(dedupe: Dedupe) -> None:
    run(on_sqlite, examples=8, dedupe=dedupe, inline=False)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := redis_server.available():
        pytest.skip(reason)
    with redis_server.redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


def test_one_job_over_redis(redis_url: str, dedupe: Dedupe) -> None:
    @contextlib.asynccontextmanager
    async def on_redis(clock: Clock) -> AsyncIterator[Store]:
        with Redis.from_url(redis_url) as client:
            client.flushall()
        async with started(RedisStore(redis_url, clock=clock)) as store:
            yield store

    run(on_redis, examples=5, dedupe=dedupe, inline=True)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[postgres_server.PostgresServer]:
    if reason := postgres_server.available():
        pytest.skip(reason)
    with postgres_server.postgres_server("fsync=off") as server:
        yield server


def test_one_job_over_postgresql(postgresql: postgres_server.PostgresServer, dedupe: Dedupe) -> None:
    @contextlib.asynccontextmanager
    async def on_postgresql(clock: Clock) -> AsyncIterator[Store]:
        postgresql.execute("DROP SCHEMA public CASCADE")
        postgresql.execute("CREATE SCHEMA public")
        async with started(PostgresStore(postgresql.url, clock=clock)) as store:
            yield store

    run(on_postgresql, examples=4, dedupe=dedupe, inline=False)
