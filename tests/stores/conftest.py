"""The stores that the contract is tested on. A test sees two servers; in memory they are one object."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from connectors._stores import Store
from connectors._stores.memory import MemoryStore
from connectors._stores.rules import RecordStore


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
    first: RecordStore
    second: RecordStore
    clock: Clock


Make = Callable[[Callable[[], float] | None], list[RecordStore]]
"""Makes the stores, not yet started, of the servers that share one place, which is empty; on a clock, or on its own."""


def in_memory(clock: Callable[[], float] | None) -> list[RecordStore]:
    return [MemoryStore(clock=clock)]


def on_sqlite(folder: Path, servers: int) -> Make:
    from connectors._stores.sqlite import SqliteStore

    numbers = count()

    def make(clock: Callable[[], float] | None) -> list[RecordStore]:
        path = folder / f"{next(numbers)}.db"
        return [SqliteStore(path, clock=clock or time.time) for _ in range(servers)]

    return make


@pytest.fixture(params=["memory", "sqlite", "sqlite, two servers"])
def store_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make(store_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    match store_name:
        case "memory":
            return in_memory
        case "sqlite":
            return on_sqlite(tmp_path, 1)
        case "sqlite, two servers":
            return on_sqlite(tmp_path, 2)
    raise AssertionError(store_name)


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
