"""The file of a SQLite store: how it is made, kept and synced, and which files are refused."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from connectors._stores import State, StoreUnfit
from connectors._stores.sqlite import SqliteStore
from connectors._stores.sqlite_file import open_database
from connectors._stores.sqlite_thread import SqliteThread
from tests.stores.sqlite_probes import store_threads
from tests.stores.steps import reserve

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def test_records_and_payloads_outlive_the_server(path: Path) -> None:
    before = SqliteStore(path)
    await before.start()
    await reserve(before)
    await before.complete("k", owner="a", meta=b"job")
    await before.save("k", "result", b"bytes", ttl=60.0)
    kept = await before.find("k")
    await before.aclose()
    after = SqliteStore(path)
    await after.start()
    assert await after.find("k") == kept
    assert kept
    assert (kept.state, kept.meta) == (State.DONE, b"job")
    assert await after.load("k", "result") == b"bytes"
    await after.aclose()


def test_commits_are_synced_to_a_write_ahead_log(path: Path) -> None:
    with closing(open_database(path, busy_timeout=1.0)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_every_commit_waits_for_the_disk_but_a_completes_that_is_alone(path: Path) -> None:
    synced, commits = True, []

    def note(statement: str) -> None:
        nonlocal synced
        if "synchronous" in statement:
            synced = statement.endswith("FULL")
        elif statement == "COMMIT":
            commits.append(synced)

    def traced() -> sqlite3.Connection:
        connection = open_database(path, busy_timeout=30.0)
        connection.set_trace_callback(note)
        return connection

    store = SqliteStore(path)
    store._changes = SqliteThread(traced, time.time, outlives=store._lookups)
    await store.start()
    await reserve(store)
    await store.complete("k", owner="a", meta=b"job")
    await store.note("k", delivered=True)
    assert commits == [True, False, True]
    await reserve(store, "shared")
    await asyncio.gather(store.complete("shared", owner="a", meta=b"job 2"), reserve(store, "another"))
    assert commits[-1]  # in one transaction, or the complete's before the other's
    await store.aclose()


def garbage(path: Path) -> Path:
    path.write_bytes(b"this is no database " * 100)
    return path


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(100000))")
    path.write_bytes(path.read_bytes()[:1_500])
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def under_a_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path / "store.db"


def another_programs(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE records (theirs)")
    return path


def another_programs_by_its_mark(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1")
    return path


def of_a_newer_version(path: Path) -> Path:
    async def create() -> None:
        store = SqliteStore(path)
        await store.start()
        await store.aclose()

    asyncio.run(create())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 77")
    return path


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.fixture
def unfit(request: pytest.FixtureRequest, path: Path) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(path)


@pytest.mark.parametrize(
    ("unfit", "words"),
    [
        (garbage, "is not a SQLite database, or is damaged"),
        (cut, "is not a SQLite database, or is damaged"),
        (folder, "cannot be opened: it is a folder"),
        (under_a_file, "is no folder"),
        (another_programs, "is another program's SQLite database"),
        (another_programs_by_its_mark, "is another program's SQLite database"),
        (of_a_newer_version, "is of a newer version of this service: schema 77"),
    ],
    indirect=["unfit"],
)
async def test_an_unfit_file_is_refused_at_start_in_one_sentence_and_left_as_it_was(unfit: Path, words: str) -> None:
    before = content(unfit)
    store = SqliteStore(unfit)
    with pytest.raises(StoreUnfit) as raised:
        await store.start()
    await store.aclose()
    assert words in raised.value.message
    assert str(unfit) in raised.value.message
    assert "\n" not in raised.value.message
    assert content(unfit) == before
    assert store_threads() == []


async def test_a_store_that_could_not_be_opened_can_be_started_again(path: Path) -> None:
    store = SqliteStore(garbage(path))
    with pytest.raises(StoreUnfit):
        await store.start()
    remove(path)
    await store.start()
    assert (await reserve(store)).mine
    await store.aclose()
