"""What is true of the SQLite store alone: its file, its thread, its transactions."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from connectors._stores import Attention, Claim, State, StoreUnavailable, StoreUnfit, job_of
from connectors._stores.sqlite import PAGE, SqliteStore
from connectors._stores.sqlite_batch import LIMIT, LOOKUPS
from connectors._stores.sqlite_file import open_database
from connectors._stores.sqlite_thread import SqliteThread

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path, anyio_backend: str) -> AsyncIterator[SqliteStore]:
    """Gives up soon where its file stays locked."""
    store = SqliteStore(path, busy_timeout=0.05)
    await store.start()
    yield store
    await store.aclose()


@pytest.fixture
async def patient(path: Path, anyio_backend: str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, busy_timeout=30.0)
    await store.start()
    yield store
    await store.aclose()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the file's write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def reserve(store: SqliteStore, key: str = "k", owner: str = "a") -> Claim:
    return await store.reserve(key, owner=owner, lease=60.0, task_type="bigquery")


def store_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("connectors-sqlite")]


# ------------------------------------------------------------------------------------------------------------ the file


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
    synced: list[str] = []

    def traced() -> sqlite3.Connection:
        connection = open_database(path, busy_timeout=30.0)
        connection.set_trace_callback(
            lambda statement: synced.append(statement) if "synchronous" in statement else None
        )
        return connection

    store = SqliteStore(path)
    store._changes = SqliteThread(traced, time.time, outlives=store._lookups)
    await store.start()
    await reserve(store)
    await store.complete("k", owner="a", meta=b"job")
    await store.note("k", delivered=True)
    assert [statement.rpartition(" ")[2] for statement in synced] == ["FULL", "NORMAL", "FULL"]
    synced.clear()
    await reserve(store, "shared")
    await asyncio.gather(store.complete("shared", owner="a", meta=b"job 2"), reserve(store, "another"))
    # in one transaction, or the complete's before the other's
    assert [statement.rpartition(" ")[2] for statement in synced][-1] == "FULL"
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


async def test_no_lookup_reads_a_whole_table_or_sorts_what_it_found(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in LOOKUPS:
            values = ["1"] * statement.count("?")
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            steps = [step for step in plan if "records" in step or "payloads" in step]
            assert steps
            assert all(step.startswith("SEARCH") and "USING" in step for step in steps), (statement, plan)
            assert not any("TEMP B-TREE" in step for step in plan), (statement, plan)


@pytest.mark.parametrize(
    ("statement", "index"),
    [("job = ?", "records_by_job"), ("attention = ?", "records_by_attention"), ("tracked", "records_tracked")],
)
async def test_a_lookup_reads_the_index_of_those_records_alone_that_it_is_after(
    store: SqliteStore, path: Path, statement: str, index: str
) -> None:
    lookups = [lookup for lookup in LOOKUPS if statement in lookup]
    assert lookups
    with closing(sqlite3.connect(path)) as connection:
        for lookup in lookups:
            plan = list(connection.execute(f"EXPLAIN QUERY PLAN {lookup}", ["1"] * lookup.count("?")))
            assert any(f"SEARCH records USING INDEX {index} " in row[3] for row in plan), plan


# ---------------------------------------------------------------------------------------------------------- unavailable


async def test_while_the_file_stays_locked_changes_are_refused_and_reads_go_on(store: SqliteStore, path: Path) -> None:
    await reserve(store)
    with locked(path):
        for change in (
            reserve(store, "other"),
            store.complete("k", owner="a", meta=b"job"),
            store.expire(older_than=1),
        ):
            with pytest.raises(StoreUnavailable, match=r"^The idempotency store cannot be reached$"):
                await change
        record = await store.find("k")
        assert record
        assert record.state is State.RESERVED
    assert await store.complete("k", owner="a", meta=b"job")
    assert await store.find("other") is None


async def test_a_lock_that_is_given_back_in_time_is_waited_for(patient: SqliteStore, path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        with locked(path):
            done = anyio.Event()

            async def change() -> None:
                assert (await reserve(patient)).mine
                done.set()

            tasks.start_soon(change)
            await anyio.wait_all_tasks_blocked()
            assert not done.is_set()


async def test_a_locked_file_does_not_hold_up_the_start_of_another_server(store: SqliteStore, path: Path) -> None:
    with locked(path):
        another = SqliteStore(path, busy_timeout=0.05)
        await another.start()
        assert await another.find("k") is None
        await another.aclose()


async def test_a_new_file_that_another_process_is_setting_up_is_waited_for(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=0.2)
    with locked(path):  # not yet in WAL mode: SQLite itself would not wait for the lock
        asked = anyio.current_time()
        with pytest.raises(StoreUnavailable, match=r"cannot be opened: database is locked$"):
            await store.start()
        assert anyio.current_time() - asked >= 0.2
    await store.start()
    await store.aclose()


async def test_after_it_is_closed_the_store_is_unavailable(store: SqliteStore) -> None:
    await store.aclose()
    with pytest.raises(StoreUnavailable):
        await store.find("k")


# ------------------------------------------------------------------------------------------------- the thread, its work


async def test_a_cancelled_callers_change_is_carried_out_all_the_same(patient: SqliteStore, path: Path) -> None:
    await reserve(patient)
    with locked(path):
        change = asyncio.ensure_future(patient.complete("k", owner="a", meta=b"job"))
        await asyncio.sleep(0)
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
    assert await patient.complete("k", owner="a", meta=b"job")
    record = await patient.find("k")
    assert record
    assert record.meta == b"job"


async def test_closing_finishes_what_was_asked_and_ends_the_thread(path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    with locked(path):
        asked = [asyncio.ensure_future(reserve(store, f"k{n}")) for n in range(20)]
        await asyncio.sleep(0)
        closing_ = asyncio.ensure_future(store.aclose())
        await asyncio.sleep(0)
    assert all([(await claim).mine for claim in asked])
    await closing_
    assert store_threads() == []


async def test_closing_twice_and_closing_what_was_never_started_do_nothing(path: Path) -> None:
    store = SqliteStore(path)
    await store.aclose()
    await store.start()
    await asyncio.gather(store.aclose(), store.aclose())
    await store.aclose()
    assert not path.with_name("store.db-wal").exists()


async def test_a_cancelled_close_goes_on(store: SqliteStore, path: Path) -> None:
    first = asyncio.ensure_future(store.aclose())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await store.aclose()
    assert store_threads() == []


async def test_a_cancelled_start_leaves_no_thread(path: Path) -> None:
    store = SqliteStore(path)
    start = asyncio.ensure_future(store.start())
    await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await store.aclose()
    assert store_threads() == []


async def test_an_operation_that_cannot_be_written_spoils_no_other(patient: SqliteStore, path: Path) -> None:
    with locked(path):  # so that all but the first wait together
        waiting = [asyncio.ensure_future(reserve(patient, key)) for key in ("first", "k1", "no UTF-8: \ud800", "k2")]
        await asyncio.sleep(0)
    first, one, bad, two = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(bad, UnicodeEncodeError)
    assert [isinstance(claim, Claim) and claim.mine for claim in (first, one, two)] == [True, True, True]


# --------------------------------------------------------------------------------------------------------- the lookups


async def job(store: SqliteStore, key: str, *, meta: bytes = b"job") -> None:
    await store.reserve(key, owner="a", lease=60.0, task_type="bigquery", subject={"project": "p"})
    await store.complete(key, owner="a", meta=meta)


async def test_no_lookup_waits_for_changes_that_wait_for_a_lock(patient: SqliteStore, path: Path) -> None:
    await job(patient, "k")
    await patient.save("k", "result", b"bytes", ttl=60.0)
    with locked(path):
        changes = [asyncio.ensure_future(reserve(patient, f"other {n}")) for n in range(1_000)]
        await asyncio.sleep(0)
        with anyio.fail_after(10):
            record = await patient.find("k")
            assert record is not None
            assert await patient.find_job(job_of("bigquery", 0, b"job")) == record
            assert await patient.waiting(Attention.IDLE, older_than=0.0) == [record]
            assert [each async for each in patient.records()] == [record]
            assert await patient.load("k", "result") == b"bytes"
            assert await patient.now() >= record.changed
        assert not any(change.done() for change in changes)
    assert all(claim.mine for claim in await asyncio.gather(*changes))


async def test_a_lookup_by_key_sees_what_was_asked_to_be_done_to_it_before(patient: SqliteStore, path: Path) -> None:
    await reserve(patient)
    with locked(path):
        completed = asyncio.ensure_future(patient.complete("k", owner="a", meta=b"job"))
        saved = asyncio.ensure_future(patient.save("k", "result", b"bytes", ttl=60.0))
        await asyncio.sleep(0)
        found, loaded = asyncio.ensure_future(patient.find("k")), asyncio.ensure_future(patient.load("k", "result"))
        await asyncio.sleep(0)
    record = await found
    assert record
    assert record.state is State.DONE
    assert await loaded == b"bytes"
    await asyncio.gather(completed, saved)


async def test_a_walk_over_the_records_keeps_no_transaction_open(store: SqliteStore, path: Path) -> None:
    for n in range(3):
        await job(store, f"k{n}")
    walk = store.records()
    await anext(walk)
    with closing(sqlite3.connect(path)) as other:  # which resets the log only where nobody still reads it
        busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert len([record async for record in walk]) == 2


async def test_a_walk_goes_over_all_pages_and_leaves_locks_out(store: SqliteStore) -> None:
    keys = ["", *(f"k{n:04}" for n in range(2 * PAGE))]
    await asyncio.gather(*(job(store, key) for key in keys), *(reserve(store, f"{key}/lock") for key in keys))
    assert [record.key async for record in store.records()] == keys


async def test_a_walk_goes_on_behind_records_that_are_forgotten_meanwhile(store: SqliteStore) -> None:
    keys = [f"k{n:04}" for n in range(PAGE + 10)]
    await asyncio.gather(*(job(store, key) for key in keys))
    walk = store.records()
    assert (await anext(walk)).key == keys[0]
    await asyncio.gather(*(store.forget(key) for key in keys[: PAGE + 5]))
    assert [record.key async for record in walk][-5:] == keys[-5:]


# ----------------------------------------------------------------------------------------------------- its transactions


def commits(path: Path) -> int:
    """Transactions in the write-ahead log: its frames that end one (https://www.sqlite.org/fileformat2.html#walformat)."""
    log = path.with_name(path.name + "-wal").read_bytes()
    (page_size,) = struct.unpack_from(">I", log, 8)
    frames = range(32, len(log), 24 + page_size)
    return sum(struct.unpack_from(">I", log, frame + 4)[0] > 0 for frame in frames)


async def test_5_000_creates_at_once_share_a_few_transactions_of_bounded_size(patient: SqliteStore, path: Path) -> None:
    with locked(path):
        asked = [asyncio.ensure_future(reserve(patient, f"k{n}")) for n in range(5_000)]
        await asyncio.sleep(0)
        before = commits(path)
    assert all(claim.mine for claim in await asyncio.gather(*asked))
    assert 5_000 / LIMIT <= commits(path) - before < 100


async def test_a_repeated_create_writes_nothing(store: SqliteStore, path: Path) -> None:
    await reserve(store)
    await store.complete("k", owner="a", meta=b"job")
    before = commits(path)
    assert (await reserve(store, owner="b")).record.state is State.DONE
    assert commits(path) == before
