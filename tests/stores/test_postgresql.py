"""The PostgreSQL store in use, on a real server: what the contract that all stores share does not say."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count

import psycopg
import pytest
import uvloop

from connectors._stores import Attention, Claim, Record, State, StoreUnavailable
from connectors._stores import postgresql_statements as sql
from connectors._stores.postgresql import PostgresStore
from connectors._stores.record import encode_record
from tests.stores.postgres_server import PostgresServer, available, pgbouncer, pgbouncer_available, postgres_server

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(available() is not None, reason=str(available()))]

_numbers = count()
SLOW = 30
"""Seconds: what is not about time-outs is not to fail for a machine that is busy."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server("fsync=off", "max_connections=300") as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that a test may kill."""
    with postgres_server() as running:
        yield running


@pytest.fixture
def url(server: PostgresServer) -> str:
    return f"{server.new_database()}?connect_timeout={SLOW}"


@pytest.fixture
async def store(url: str, anyio_backend: str) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(url, timeout=SLOW)
    await opened.start()
    yield opened
    await opened.aclose()


@pytest.fixture
async def another(url: str, store: PostgresStore) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(url, timeout=SLOW)
    await opened.start()
    yield opened
    await opened.aclose()


async def reserve(store: PostgresStore, key: str, owner: str = "a") -> Claim:
    return await store.reserve(key, owner=owner, lease=60.0, task_type="bigquery", subject={"project": "p"})


async def create(store: PostgresStore, key: str) -> None:
    assert (await reserve(store, key)).mine
    assert await store.complete(key, owner="a", meta=key.encode())


STORES = "datname = current_database() AND application_name = 'connectors'"


def sessions(server: PostgresServer, url: str) -> int:
    """How many the stores have."""
    [(number,)] = server.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {STORES}", url)  # noqa: S608 - constants
    return int(number)


def end_sessions(server: PostgresServer, url: str) -> None:
    """As a server that restarts does; returns when they have ended."""
    end = f"SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE {STORES}"  # noqa: S608 - constants
    assert server.execute(end, url)


# ------------------------------------------------------------------------------------------------------ the statements


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


async def test_only_the_meta_is_written_without_waiting_for_the_disk_or_a_standby(own_server: PostgresServer) -> None:
    store = PostgresStore(own_server.url, timeout=SLOW)
    await store.start()
    assert (await reserve(store, "k")).mine
    own_server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")  # no commit that waits ever returns
    own_server.execute("SELECT pg_reload_conf()")
    assert await store.complete("k", owner="a", meta=b"job")
    await store.aclose()
    impatient = PostgresStore(own_server.url, timeout=0.5)
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
async def test_all_of_many_changes_of_one_record_are_kept(server: PostgresServer, url: str, isolation: str) -> None:
    setting = "ALTER DATABASE {} SET default_transaction_isolation = '{}'"
    server.execute(setting.format(url.rpartition("/")[2].partition("?")[0], isolation))
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


# ------------------------------------------------------------------------------------------------------ the connections


@pytest.mark.skipif(pgbouncer_available() is not None, reason=str(pgbouncer_available()))
async def test_creates_work_through_a_pooler_whose_sessions_change_hands(server: PostgresServer, url: str) -> None:
    with pgbouncer(server, pool=2) as pooler:
        stores = [PostgresStore(pooler.url(url), timeout=SLOW) for _ in range(3)]
        await asyncio.gather(*(each.start() for each in stores))
        await asyncio.gather(*(create(stores[n % 3], f"k{n}") for n in range(90)))
        found = {record.key: record.meta async for record in stores[0].records()}
        assert found == {f"k{n}": f"k{n}".encode() for n in range(90)}
        assert len(await stores[1].waiting(Attention.IDLE, older_than=-1)) == 90
        assert sessions(server, url) <= 2
        for each in stores:
            await each.aclose()


async def test_a_store_takes_eight_connections_at_the_most(
    server: PostgresServer, url: str, store: PostgresStore
) -> None:
    await asyncio.gather(*(create(store, f"k{n}") for n in range(200)))
    assert 2 <= sessions(server, url) <= 8


async def test_after_cancelled_calls_every_answer_belongs_to_its_question(store: PostgresStore) -> None:
    for number in range(20):
        await create(store, f"k{number}")
    dice = random.Random(2)
    for _ in range(10):
        calls = [asyncio.create_task(store.find(f"k{dice.randrange(20)}")) for _ in range(20)]
        for call in dice.sample(calls, 20):
            await asyncio.sleep(dice.uniform(0, 0.001))
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    records = await asyncio.gather(*(store.find(f"k{number}") for number in range(20)))
    assert [record and record.meta for record in records] == [f"k{number}".encode() for number in range(20)]


async def test_cancelled_changes_leave_records_that_can_be_read_and_changed(store: PostgresStore) -> None:
    dice = random.Random(3)
    for _ in range(5):
        calls = [asyncio.create_task(create(store, f"k{next(_numbers)}")) for _ in range(20)]
        for call in dice.sample(calls, 20):
            await asyncio.sleep(dice.uniform(0, 0.001))
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    async for record in store.records():  # the server may still be at work on what was cancelled last
        claim = await reserve(store, record.key)
        assert claim.mine or claim.record.meta == record.key.encode()


async def test_cancelled_calls_are_over_at_once_and_their_answers_reach_nobody(own_server: PostgresServer) -> None:
    store = PostgresStore(own_server.url)
    await store.start()
    await create(store, "mine")
    await asyncio.gather(*(create(store, f"other{number}") for number in range(20)))
    own_server.pause()
    calls = [asyncio.create_task(store.find("mine")) for _ in range(20)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    for call in calls:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - began < 1
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    own_server.resume()
    found = await asyncio.gather(*(store.find(f"other{number}") for number in range(20)))
    assert [record and record.key for record in found] == [f"other{number}" for number in range(20)]
    await store.aclose()


async def test_a_server_that_does_not_answer_is_unavailable_in_time_and_is_found_again(
    own_server: PostgresServer,
) -> None:
    store = PostgresStore(own_server.url, timeout=0.5)
    await store.start()
    await create(store, "k")
    own_server.pause()
    began = time.monotonic()
    results = await asyncio.gather(*(store.find("k") for _ in range(30)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    assert time.monotonic() - began < 5
    own_server.resume()
    assert await store.find("k")
    await store.aclose()


async def test_a_server_that_is_gone_is_unavailable_at_once_and_is_found_again(own_server: PostgresServer) -> None:
    store = PostgresStore(own_server.url)
    await store.start()
    await create(store, "k")
    own_server.stop()
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="refused"):
            await store.find("k")
    assert time.monotonic() - began < 1
    own_server.start()
    assert await store.find("k")
    await store.aclose()


async def test_a_session_that_the_server_ended_is_not_used_again(
    server: PostgresServer, url: str, store: PostgresStore
) -> None:
    await asyncio.gather(*(create(store, f"k{n}") for n in range(20)))
    end_sessions(server, url)
    await asyncio.gather(*(reserve(store, f"k{n}") for n in range(20)))


async def test_a_database_that_becomes_read_only_is_unavailable_while_it_is(
    server: PostgresServer, url: str, store: PostgresStore
) -> None:
    database = url.rpartition("/")[2].partition("?")[0]
    await reserve(store, "k")
    server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    end_sessions(server, url)
    with pytest.raises(StoreUnavailable, match="read-only"):
        await reserve(store, "other")
    server.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    assert (await reserve(store, "other")).mine  # in a new session: the old one would stay read-only


async def test_what_was_answered_is_kept_when_the_server_is_killed(own_server: PostgresServer) -> None:
    store = PostgresStore(own_server.url)
    await store.start()
    answered: list[str] = []
    halfway = asyncio.Event()

    async def reserve_until_it_fails(caller: int) -> None:
        for number in count():
            key = f"{caller}-{number}"
            try:
                await reserve(store, key)
            except StoreUnavailable:
                return
            answered.append(key)
            if len(answered) == 100:
                halfway.set()

    callers = [asyncio.create_task(reserve_until_it_fails(caller)) for caller in range(8)]
    await halfway.wait()
    await asyncio.to_thread(own_server.kill)
    await asyncio.gather(*callers)
    await asyncio.to_thread(own_server.start)
    kept = {record.key async for record in store.records()}
    assert len(answered) >= 100
    assert set(answered) <= kept
    await store.aclose()


async def test_calls_after_the_close_and_calls_under_way_fail_as_unavailable(url: str) -> None:
    store = PostgresStore(url)
    await store.start()
    await create(store, "k")
    calls = [asyncio.create_task(store.find("k")) for _ in range(30)]
    await asyncio.sleep(0)
    await store.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, Record | StoreUnavailable) for result in results)


def test_it_runs_on_uvloop(url: str) -> None:
    async def run() -> bytes | None:
        store = PostgresStore(url)
        await store.start()
        await create(store, "k")
        record = await store.find("k")
        await store.aclose()
        return record.meta if record else None

    assert uvloop.run(run()) == b"k"
