"""The statements of the PostgreSQL store, on a real server: what the contract that all stores share does not say."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from itertools import count

import psycopg
import pytest

from connectors._stores import Claim, Record, State, StoreUnavailable
from connectors._stores import postgresql_statements as sql
from connectors._stores.postgresql import PostgresStore
from connectors._stores.record import encode_record
from tests.stores.postgres_server import PostgresServer, available, postgres_server
from tests.stores.postgres_stores import SLOW, create, opened, reserve

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(available() is not None, reason=str(available()))]

_numbers = count()


@pytest.fixture
def url(postgresql: PostgresServer) -> str:
    return f"{postgresql.new_database()}?connect_timeout={SLOW}"


@pytest.fixture
async def store(url: str, anyio_backend: str) -> AsyncIterator[PostgresStore]:
    async with opened(url) as store:
        yield store


@pytest.fixture
async def another(url: str, store: PostgresStore) -> AsyncIterator[PostgresStore]:
    async with opened(url) as another:
        yield another


async def test_a_create_takes_one_statement_for_each_of_its_steps() -> None:
    with postgres_server("fsync=off", "log_statement=all", "log_line_prefix=") as server:
        store = PostgresStore(server.url)
        await store.start()
        await create(store, "first")  # after which the server's clock is known
        await create(store, "second")
        await store.note("second", delivered=True)
        await store.aclose()
        log = (server.folder / "log").read_text()
    assert re.findall(r"execute <unnamed>:\s*(\w+)", log)[-3:] == ["INSERT", "UPDATE", "UPDATE"]


async def test_only_the_meta_is_written_without_waiting_for_the_disk_or_a_standby(
    own_postgresql: PostgresServer,
) -> None:
    store = PostgresStore(own_postgresql.url, timeout=SLOW)
    await store.start()
    assert (await reserve(store, "k")).mine
    own_postgresql.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")  # no commit that waits ever returns
    own_postgresql.execute("SELECT pg_reload_conf()")
    assert await store.complete("k", owner="a", meta=b"job")
    await store.aclose()
    impatient = PostgresStore(own_postgresql.url, timeout=0.5)
    await impatient.start()
    with pytest.raises(StoreUnavailable):
        await impatient.note("k", delivered=True)
    await impatient.aclose()


async def test_no_lookup_reads_the_whole_table(url: str, store: PostgresStore) -> None:
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy(
            "COPY connectors_records (key, job, attention, since, changed, lease_until, tracked, doc) FROM STDIN"
        ) as copy:
            for number in range(10_000):
                attention = "idle" if number % 2 else ""
                copy.write_row((f"k{number:05}", f"job{number}", attention, number, number, 0, number % 3 == 0, "{}"))
        with cursor.copy("COPY connectors_payloads (key, kind, ends, data) FROM STDIN") as copy:
            for number in range(10_000):
                copy.write_row((f"k{number:05}", "result", number, b"x"))
        cursor.execute("ANALYZE")
        raw = psycopg.RawCursor(connection)
        for statement, *values in (
            (sql.READ, None, "k00042"),
            (sql.UPDATE, None, "k00042", None, "{}", "", "", 0.0, 0.0, 0.0, False, "{}"),
            (sql.DELETE, None, "k00042", None, "{}"),
            (sql.FIND, "k00042"),
            (sql.FIND_JOB, "job42"),
            (sql.WAITING, None, "idle", 0.0, 100),
            (sql.WAITING, 1.0, "idle", 0.0, 100),
            (sql.PAGE, "k05000"),
            (sql.LOAD, None, "k00042", "result"),
            (sql.EXPIRE_PAYLOADS, 50.0, 1_000),
            (sql.EXPIRE_RECORDS, 50.0, 0.0, 1_000),
            (sql.EXPIRE_RECORDS, None, 1e9, 1_000),
        ):
            plan = "\n".join(row[0] for row in raw.execute(f"EXPLAIN {statement}", values))
            assert "Index" in plan, plan
            assert "Seq Scan on connectors" not in plan, plan
            assert "Sort" not in plan, plan


def test_where_the_guess_of_the_servers_clock_is_wrong_the_servers_clock_rules(url: str) -> None:
    class Loop(asyncio.SelectorEventLoop):
        ahead = 0.0

        def time(self) -> float:
            return super().time() + self.ahead

    loop = Loop()

    async def reserve_before_and_after_a_jump() -> list[Claim]:
        store = PostgresStore(url)
        await store.start()
        claims = [await reserve(store, "first"), await reserve(store, "second")]
        loop.ahead = 3_600.0
        claims += [await reserve(store, "third"), await reserve(store, "third", owner="b")]
        await store.aclose()
        return claims

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        claims = runner.run(reserve_before_and_after_a_jump())
    assert [claim.mine for claim in claims] == [True, True, True, False]
    assert all(abs(claim.record.created - time.time()) < 30 for claim in claims)


async def test_what_this_server_remembers_of_a_record_is_not_believed(
    store: PostgresStore, another: PostgresStore
) -> None:
    await reserve(store, "k")
    assert await another.forget("k")
    assert (await reserve(another, "k", owner="b")).mine
    assert not await store.complete("k", owner="a", meta=b"a")
    assert await another.complete("k", owner="b", meta=b"b")
    claim = await reserve(store, "k")
    assert (claim.mine, claim.record.meta) == (False, b"b")


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_all_of_many_changes_of_one_record_are_kept(postgresql: PostgresServer, url: str, isolation: str) -> None:
    setting = "ALTER DATABASE {} SET default_transaction_isolation = '{}'"
    postgresql.execute(setting.format(url.rpartition("/")[2].partition("?")[0], isolation))
    stores = [PostgresStore(url, timeout=SLOW), PostgresStore(url, timeout=SLOW)]
    for each in stores:
        await each.start()
    claims = await asyncio.gather(*(reserve(stores[n % 2], "k", owner=f"o{n}") for n in range(32)))
    await asyncio.gather(*(stores[n % 2].advance("k", n) for n in range(40)))
    record = await stores[0].find("k")
    assert [claim.mine for claim in claims].count(True) == 1
    assert record is not None
    assert record.latest == 39
    for each in stores:
        await each.aclose()


async def test_a_page_of_records_ends_where_the_next_begins(url: str, store: PostgresStore) -> None:
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for number in range(1_203):
            record = Record(f"k{number}", "bigquery", State.DONE, tracked=number % 3 != 0)
            cursor.execute(
                "INSERT INTO connectors_records VALUES (%s, '', '', 0, 0, 0, %s, %s)",
                (record.key, record.tracked, encode_record(record)),
            )
    found = [record.key async for record in store.records()]
    assert sorted(found) == sorted(f"k{number}" for number in range(1_203) if number % 3)


async def test_expiry_goes_in_steps_and_leaves_what_is_young(url: str) -> None:
    now = 1_000.0
    store = PostgresStore(url, clock=lambda: now)
    await store.start()
    for number in range(25):
        await store.save(f"k{number}", "result", b"x", ttl=5)
        await create(store, f"k{number}")
    now = 1_100.0
    await create(store, "young")
    assert [await store.expire(older_than=50, limit=20) for _ in range(4)] == [20, 20, 10, 0]
    assert [record.key async for record in store.records()] == ["young"]
    await store.aclose()


async def test_a_payload_of_many_megabytes_comes_back(store: PostgresStore) -> None:
    data = random.Random(1).randbytes(8 * 1024 * 1024)
    await store.save("k", "result", data, ttl=60)
    assert await store.load("k", "result") == data
