"""A SQLite file of another release: an older one's is carried over, a newer one's is shared or refused."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from connectors._stores import Attention, State, StoreUnfit, job_of
from connectors._stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0

SCHEMA_1 = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE records (
        key TEXT NOT NULL PRIMARY KEY, task_type TEXT NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL,
        owner TEXT NOT NULL, lease_until REAL NOT NULL, meta BLOB, changed REAL NOT NULL);
    CREATE INDEX records_by_change ON records (changed);
    CREATE TABLE payloads (
        key TEXT NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL, ends REAL NOT NULL, PRIMARY KEY (key, kind));
    CREATE INDEX payloads_by_end ON payloads (ends);
    PRAGMA application_id = 1131307892;
    PRAGMA user_version = 1;
"""
ROWS = [
    ("done", "bigquery", "f", "done", "a", 0.0, b"job \x00\xff", NOW - 300),
    ("unknown", "bigquery", "f", "unknown", "a", 0.0, None, NOW - 200),
    ("held", "bigquery", "f", "reserved", "a", NOW + 30, None, NOW - 10),
    ("echo/1", "echo", "", "done", "a", 0.0, b"answer", NOW - 100),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the first release left it."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA_1)
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)", ROWS)
        connection.execute("INSERT INTO payloads VALUES ('echo/1', 'result', x'01', ?)", (NOW + 60,))
        connection.commit()
    return path


def at_now(path: Path) -> SqliteStore:
    return SqliteStore(path, clock=lambda: NOW)


@pytest.fixture
async def store(path: Path, anyio_backend: str) -> AsyncIterator[SqliteStore]:
    store = at_now(path)
    await store.start()
    yield store
    await store.aclose()


async def test_a_job_of_the_first_release_is_found_by_its_key_and_by_its_meta(store: SqliteStore) -> None:
    record = await store.find("done")
    assert record is not None
    assert (record.state, record.fingerprint, record.meta) == (State.DONE, "f", b"job \x00\xff")
    assert (record.tracked, record.run, record.done_at) == (True, "done", NOW - 300)
    assert await store.find_job(job_of("bigquery", 0, b"job \x00\xff")) == record


async def test_what_a_record_of_the_first_release_waits_for_is_counted_from_its_last_change(store: SqliteStore) -> None:
    assert [record.key for record in await store.waiting(Attention.IDLE, older_than=300)] == ["done"]
    assert await store.waiting(Attention.IDLE, older_than=301) == []
    assert [record.key for record in await store.waiting(Attention.UNKNOWN, older_than=200)] == ["unknown"]
    assert [record.key for record in await store.waiting(Attention.UNKNOWN, older_than=10)] == ["unknown", "held"]


async def test_a_lease_of_the_first_release_still_holds(store: SqliteStore) -> None:
    assert not (await store.reserve("held", owner="b", lease=60.0, task_type="bigquery")).mine
    assert await store.complete("held", owner="a", meta=b"another job")


async def test_a_sync_calls_key_of_the_first_release_goes_on_as_a_lock_with_its_answer(store: SqliteStore) -> None:
    record = await store.find("echo/1")
    assert record is not None
    assert (record.state, record.meta, record.tracked, record.job) == (State.DONE, b"answer", False, "")
    assert await store.load("echo/1", "result") == b"\x01"
    assert {record.key async for record in store.records()} == {"done", "unknown", "held"}


async def test_records_of_the_first_release_expire_by_their_age(store: SqliteStore) -> None:
    assert await store.expire(older_than=150) == 2
    assert [(await store.find(key)) is None for key in ("done", "unknown", "held")] == [True, True, False]


async def test_the_first_release_refuses_the_migrated_file_since_its_schema_is_higher(
    store: SqliteStore, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] > 1


async def test_of_three_servers_that_open_the_file_at_once_one_carries_it_over(path: Path) -> None:
    stores = [at_now(path) for _ in range(3)]
    await asyncio.gather(*(store.start() for store in stores))
    for store in stores:
        assert {record.key async for record in store.records()} == {"done", "unknown", "held"}
        await store.aclose()


async def test_a_file_that_cannot_be_carried_over_is_refused_and_left_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE records SET state = 'lost' WHERE key = 'unknown'")
        connection.commit()
    store = at_now(path)
    with pytest.raises(StoreUnfit, match=r"store\.db holds what is no record of this service: 'lost'"):
        await store.start()
    await store.aclose()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(meta) FROM records").fetchone() == (2,)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def of_a_newer_release(path: Path, user_version: int) -> None:
    """Schema 3, which adds a column."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE records ADD COLUMN later TEXT NOT NULL DEFAULT 'none'")
        connection.execute(f"PRAGMA user_version = {user_version}")
        connection.commit()


async def test_a_newer_releases_file_is_shared_with_it_where_it_says_that_this_one_may(
    store: SqliteStore, path: Path
) -> None:
    of_a_newer_release(path, 2_003)
    restarted = at_now(path)
    await restarted.start()
    for each in (store, restarted):  # the one that was running, and the one that was started beside the newer release
        assert (await each.reserve(f"{id(each)}", owner="b", lease=60.0, task_type="bigquery")).mine
        assert await each.complete("held", owner="a", meta=b"another job")
    await restarted.aclose()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2_003,)
        assert connection.execute("SELECT count(*) FROM records WHERE later = 'none'").fetchone() == (6,)


async def test_a_newer_releases_file_is_refused_where_it_does_not(store: SqliteStore, path: Path) -> None:
    await store.aclose()
    of_a_newer_release(path, 3_003)
    refused = at_now(path)
    with pytest.raises(StoreUnfit, match=r"of a newer version of this service: schema 3, this one knows 2$"):
        await refused.start()
    await refused.aclose()
