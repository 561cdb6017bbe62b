"""The stores that the contract is tested on. A test sees two servers; in one process they may be one object."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from connectors._stores import Store
from connectors._stores.memory import MemoryStore
from connectors._stores.sqlite import SqliteStore


class Clock:
    """A store's clock, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        """Asynchronous, and asked for little, so that a store whose clock cannot be moved could wait instead."""
        self.now += seconds


@dataclass
class Servers:
    first: Store
    second: Store
    clock: Clock = field(default_factory=Clock)


@pytest.fixture(params=["memory", "sqlite", "sqlite, two servers"])
async def servers(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Servers]:
    clock = Clock()
    path = tmp_path / "store.db"
    match request.param:
        case "memory":
            stores: list[Store] = [MemoryStore(clock=clock)]
        case "sqlite":
            stores = [SqliteStore(path, clock=clock)]
        case _:
            stores = [SqliteStore(path, clock=clock), SqliteStore(path, clock=clock)]
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
