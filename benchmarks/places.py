"""The stores that are measured, each on real storage of its own, and how one is filled faster than by its own methods.

What is loaded is what the store itself would have written: its own encoding, its own names, its own indexes.
"""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from connectors._stores import Record, Store, open_store
from connectors._stores.memory import MemoryStore
from connectors._stores.record import encode_record
from connectors._stores.sqlite import SqliteStore
from connectors._stores.sqlite_batch import LIMIT, Batch
from connectors._stores.sqlite_file import open_database

if TYPE_CHECKING:
    from tests.stores.postgres_server import PostgresServer

__all__ = ["Place", "all_places"]


@dataclass(frozen=True)
class Place(ABC):
    """Where one store is measured."""

    name: str
    target: float
    """What it may add to a create at the median, in milliseconds."""
    is_filled: bool
    """Whether it is measured with many records, too."""

    def missing(self) -> str | None:
        """Why it cannot be measured here."""
        return None

    @abstractmethod
    def open(self, folder: Path) -> AbstractAsyncContextManager[Opened]:
        """A started store with nothing in it. :param folder: exists, is empty, and is removed afterwards."""


@dataclass(frozen=True)
class Opened:
    """A store that was started."""

    store: Store

    def load(self, records: Sequence[Record]) -> None:
        """Write new records, fast, and not safe from a crash.

        :raises NotImplementedError: the store is not one to be filled (:attr:`Place.is_filled`).
        """
        raise NotImplementedError

    def settle(self) -> None:
        """After the last of them: finish what the loading left to be done in the background."""


class _Memory(Place):
    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        async with _started(MemoryStore()) as store:
            yield Opened(store)


# -------------------------------------------------------------------------------------------------------------- SQLite


@dataclass(frozen=True)
class _OpenedSqlite(Opened):
    path: Path

    def load(self, records: Sequence[Record]) -> None:
        with closing(open_database(self.path, busy_timeout=60.0)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -262144")  # KiB: the keys are spread over the whole index
            connection.execute("BEGIN IMMEDIATE")
            for start in range(0, len(records), LIMIT):
                _write(connection, records[start : start + LIMIT])
            connection.execute("COMMIT")

    def settle(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    batch = Batch(connection, (), time.time())
    for record in records:
        batch.change(record.key, partial(_put, made=record))
    batch.flush()


def _put(before: Record | None, now: float, *, made: Record) -> tuple[Record | None, None]:
    return made, None


class _Sqlite(Place):
    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        path = folder / "store.db"
        async with _started(SqliteStore(path)) as store:
            yield _OpenedSqlite(store, path)


# --------------------------------------------------------------------------------------------------------------- Redis


@dataclass(frozen=True)
class _OpenedRedis(Opened):
    url: str

    def load(self, records: Sequence[Record]) -> None:
        from redis import Redis  # noqa: PLC0415 - an extra of the service's

        from connectors._stores.redis_scripts import RECORD, entries_of  # noqa: PLC0415

        members: dict[str, dict[str, float]] = {}
        for record in records:
            for name, score in entries_of(record).items():
                members.setdefault(name, {})[record.key] = score
        with Redis.from_url(self.url) as client, client.pipeline(transaction=False) as pipeline:
            pipeline.mset({RECORD + record.key: encode_record(record) for record in records})
            for name, scores in members.items():
                pipeline.zadd(name, scores)
            pipeline.execute()


@dataclass(frozen=True)
class _Redis(Place):
    options: tuple[str, ...]

    def missing(self) -> str | None:
        from tests.stores.redis_server import available  # noqa: PLC0415

        return available()

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        from tests.stores.redis_server import redis_server  # noqa: PLC0415

        with redis_server(folder, *self.options) as server:
            async with _started(open_store(server.url)) as store:
                yield _OpenedRedis(store, server.url)


# ---------------------------------------------------------------------------------------------------------- PostgreSQL


@dataclass(frozen=True)
class _OpenedPostgres(Opened):
    server: PostgresServer

    def load(self, records: Sequence[Record]) -> None:
        import psycopg  # noqa: PLC0415 - an extra of the service's

        columns = "key, job, attention, since, changed, lease_until, tracked, doc"
        with (
            psycopg.connect(self.server.url) as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY connectors_records ({columns}) FROM STDIN".encode()) as copy,
        ):
            for record in records:
                job, attention, since, changed = record.indexed()
                doc = encode_record(record)
                copy.write_row(
                    (record.key, job, attention.value, since, changed, record.lease_until, record.tracked, doc)
                )

    def settle(self) -> None:
        self.server.execute("VACUUM ANALYZE connectors_records")
        self.server.execute("CHECKPOINT")


class _Postgres(Place):
    def missing(self) -> str | None:
        from tests.stores.postgres_server import available  # noqa: PLC0415

        return available()

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        from tests.stores.postgres_server import postgres_server  # noqa: PLC0415

        with postgres_server() as server:
            async with _started(open_store(server.url)) as store:
                yield _OpenedPostgres(store, server)


@asynccontextmanager
async def _started(store: Store) -> AsyncIterator[Store]:
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


def all_places() -> list[Place]:
    """In the order in which they are shown."""
    # no rewrite of the log: it would fall into some rounds and not into others
    log = ("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0", "--appendfsync")
    return [
        _Memory("memory", 0.05, False),
        _Sqlite("SQLite", 1.0, True),
        _Redis("Redis, log synced each second", 1.5, True, (*log, "everysec")),
        _Redis("Redis, log synced on each write", 1.5, False, (*log, "always")),
        _Postgres("PostgreSQL", 1.5, True),
    ]
