"""What is true of the SQLite store alone: its threads, its lookups, its transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from connectors._stores import Attention, Claim, State, StoreUnavailable, job_of
from connectors._stores.sqlite import PAGE, SqliteStore
from connectors._stores.sqlite_batch import LIMIT, LOOKUPS
from tests.stores.sqlite_probes import commits, locked, store_threads

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


async def reserve(store: SqliteStore, key: str = "k", owner: str = "a") -> Claim:
    return await store.reserve(key, owner=owner, lease=60.0, task_type="bigquery")


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
