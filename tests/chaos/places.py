"""The stores that chaos is tested over, each on real storage of its own. Those that are servers can be killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.stores.postgres_server import PostgresServer, postgres_server
from tests.stores.postgres_server import available as postgresql_available
from tests.stores.redis_server import RedisServer, redis_server
from tests.stores.redis_server import available as redis_available

__all__ = ["Place", "StoreName", "place"]

StoreName = Literal["sqlite", "redis", "postgresql"]


@dataclass(frozen=True)
class Place:
    """A store's URL, and its server where it has one."""

    url: str
    server: RedisServer | PostgresServer | None = None


@contextmanager
def place(name: StoreName, folder: Path) -> Iterator[Place]:
    """An empty store. Where its server is not installed, the test is skipped.

    Every one keeps what it was told across its own ``kill -9``: Redis with its log synced on every write; PostgreSQL as
    ever, since what it has handed to the system outlives the process.
    """
    match name:
        case "sqlite":
            yield Place(f"sqlite://{folder / 'chaos.db'}")
        case "redis":
            if reason := redis_available():
                pytest.skip(reason)
            with redis_server(folder / "redis", "--appendonly", "yes", "--appendfsync", "always") as redis:
                yield Place(redis.url, redis)
        case "postgresql":
            if reason := postgresql_available():
                pytest.skip(reason)
            with postgres_server("fsync=off") as postgresql:
                yield Place(postgresql.url, postgresql)
