"""The stores that the contract is tested on. A test sees two servers; in memory they are one object."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from redis import Redis

from connectors._stores import Store
from connectors._stores.memory import MemoryStore
from connectors._stores.postgresql import PostgresStore
from connectors._stores.redis import RedisStore
from connectors._stores.sqlite import SqliteStore
from connectors._stores.watched import WatchedStore
from tests.stores import postgres_server, redis_server


class Clock:
    """A store's clock, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Servers:
    first: Store
    second: Store
    clock: Clock


Make = Callable[[Callable[[], float] | None], list[Store]]
"""Makes the stores, not yet started, of the servers that share one place, which is empty; on a clock, or on its own."""


def in_memory(clock: Callable[[], float] | None) -> list[Store]:
    return [MemoryStore(clock=clock)]


def in_memory_and_watched(clock: Callable[[], float] | None) -> list[Store]:
    return [WatchedStore(MemoryStore(clock=clock))]


def on_sqlite(folder: Path, servers: int) -> Make:
    numbers = count()

    def make(clock: Callable[[], float] | None) -> list[Store]:
        path = folder / f"{next(numbers)}.db"
        return [SqliteStore(path, clock=clock or time.time) for _ in range(servers)]

    return make


def on_redis(server: redis_server.RedisServer) -> Make:
    def make(clock: Callable[[], float] | None) -> list[Store]:
        with Redis.from_url(server.url) as client:
            client.flushall()
        return [RedisStore(server.url, clock=clock, answer_within=60.0) for _ in range(2)]

    return make


EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'connectors_schema' LOOP
        EXECUTE format('DELETE FROM public.%I', name);
    END LOOP;
END $$
"""
"""Every table but the one that holds the schema's version: to make the schema anew for each test takes longer."""


def on_postgresql(server: postgres_server.PostgresServer, url: str) -> Make:
    def make(clock: Callable[[], float] | None) -> list[Store]:
        server.execute(EMPTY)
        return [PostgresStore(url, clock=clock, timeout=60.0) for _ in range(2)]

    return make


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    if reason := redis_server.available():
        pytest.skip(reason)
    with redis_server.redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres_server.PostgresServer]:
    if reason := postgres_server.available():
        pytest.skip(reason)
    with postgres_server.postgres_server("fsync=off", "max_connections=300") as server:
        yield server


@pytest.fixture
def own_postgresql() -> Iterator[postgres_server.PostgresServer]:
    """One that the test may kill, or change."""
    if reason := postgres_server.available():
        pytest.skip(reason)
    with postgres_server.postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgresql: postgres_server.PostgresServer) -> Iterator[postgres_server.PgBouncer]:
    """In transaction mode, with so few connections that they change hands."""
    if reason := postgres_server.pgbouncer_available():
        pytest.skip(reason)
    with postgres_server.pgbouncer(postgresql, pool=3) as pooler:
        yield pooler


@pytest.fixture(
    params=[
        "memory",
        "memory, watched",
        "sqlite",
        "sqlite, two servers",
        "redis",
        "postgresql",
        "postgresql through pgbouncer",
    ]
)
def store_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make(store_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    match store_name:
        case "memory":
            return in_memory
        case "memory, watched":
            return in_memory_and_watched
        case "sqlite":
            return on_sqlite(tmp_path, 1)
        case "sqlite, two servers":
            return on_sqlite(tmp_path, 2)
        case "redis":
            return on_redis(request.getfixturevalue("redis"))
    server = request.getfixturevalue("postgresql")
    pooler = request.getfixturevalue("pgbouncer") if store_name != "postgresql" else None
    return on_postgresql(server, pooler.url(server.url) if pooler else server.url)


@pytest.fixture
async def servers(make: Make, anyio_backend: str) -> AsyncIterator[Servers]:
    clock = Clock()
    stores = make(clock)
    for store in stores:
        await store.start()
    yield Servers(stores[0], stores[-1], clock)
    for store in stores:
        await store.aclose()


@pytest.fixture
def store(servers: Servers) -> Store:
    return servers.first


@pytest.fixture
def clock(servers: Servers) -> Clock:
    return servers.clock
