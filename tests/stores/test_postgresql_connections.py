"""The connections of a PostgreSQL store: calls that are cancelled, servers that go and come back, a pooler."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from itertools import count

import pytest
import uvloop

from connectors._stores import Attention, Record, StoreUnavailable
from connectors._stores.postgresql import PostgresStore
from tests.stores.postgres_server import PostgresServer, available, pgbouncer, pgbouncer_available
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


STORES = "datname = current_database() AND application_name = 'connectors'"


def sessions(server: PostgresServer, url: str) -> int:
    """How many the stores have."""
    [(number,)] = server.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {STORES}", url)  # noqa: S608 - constants
    return int(number)


def end_sessions(server: PostgresServer, url: str) -> None:
    """As a server that restarts does; returns when they have ended."""
    end = f"SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE {STORES}"  # noqa: S608 - constants
    assert server.execute(end, url)


@pytest.mark.skipif(pgbouncer_available() is not None, reason=str(pgbouncer_available()))
async def test_creates_work_through_a_pooler_whose_sessions_change_hands(postgresql: PostgresServer, url: str) -> None:
    with pgbouncer(postgresql, pool=2) as pooler:
        stores = [PostgresStore(pooler.url(url), timeout=SLOW) for _ in range(3)]
        await asyncio.gather(*(each.start() for each in stores))
        await asyncio.gather(*(create(stores[n % 3], f"k{n}") for n in range(90)))
        found = {record.key: record.meta async for record in stores[0].records()}
        assert found == {f"k{n}": f"k{n}".encode() for n in range(90)}
        assert len(await stores[1].waiting(Attention.IDLE, older_than=-1)) == 90
        assert sessions(postgresql, url) <= 2
        for each in stores:
            await each.aclose()


async def test_a_store_takes_eight_connections_at_the_most(
    postgresql: PostgresServer, url: str, store: PostgresStore
) -> None:
    await asyncio.gather(*(create(store, f"k{n}") for n in range(200)))
    assert 2 <= sessions(postgresql, url) <= 8


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


async def test_cancelled_calls_are_over_at_once_and_their_answers_reach_nobody(own_postgresql: PostgresServer) -> None:
    store = PostgresStore(own_postgresql.url)
    await store.start()
    await create(store, "mine")
    await asyncio.gather(*(create(store, f"other{number}") for number in range(20)))
    own_postgresql.pause()
    calls = [asyncio.create_task(store.find("mine")) for _ in range(20)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    for call in calls:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - began < 1
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    own_postgresql.resume()
    found = await asyncio.gather(*(store.find(f"other{number}") for number in range(20)))
    assert [record and record.key for record in found] == [f"other{number}" for number in range(20)]
    await store.aclose()


async def test_a_server_that_does_not_answer_is_unavailable_in_time_and_is_found_again(
    own_postgresql: PostgresServer,
) -> None:
    store = PostgresStore(own_postgresql.url, timeout=0.5)
    await store.start()
    await create(store, "k")
    own_postgresql.pause()
    began = time.monotonic()
    results = await asyncio.gather(*(store.find("k") for _ in range(30)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    assert time.monotonic() - began < 5
    own_postgresql.resume()
    assert await store.find("k")
    await store.aclose()


async def test_a_server_that_is_gone_is_unavailable_at_once_and_is_found_again(own_postgresql: PostgresServer) -> None:
    store = PostgresStore(own_postgresql.url)
    await store.start()
    await create(store, "k")
    own_postgresql.stop()
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="refused"):
            await store.find("k")
    assert time.monotonic() - began < 1
    own_postgresql.start()
    assert await store.find("k")
    await store.aclose()


async def test_a_session_that_the_server_ended_is_not_used_again(
    postgresql: PostgresServer, url: str, store: PostgresStore
) -> None:
    await asyncio.gather(*(create(store, f"k{n}") for n in range(20)))
    end_sessions(postgresql, url)
    await asyncio.gather(*(reserve(store, f"k{n}") for n in range(20)))


async def test_a_database_that_becomes_read_only_is_unavailable_while_it_is(
    postgresql: PostgresServer, url: str, store: PostgresStore
) -> None:
    database = url.rpartition("/")[2].partition("?")[0]
    await reserve(store, "k")
    postgresql.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    end_sessions(postgresql, url)
    with pytest.raises(StoreUnavailable, match="read-only"):
        await reserve(store, "other")
    postgresql.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    assert (await reserve(store, "other")).mine  # in a new session: the old one would stay read-only


async def test_what_was_answered_is_kept_when_the_server_is_killed(own_postgresql: PostgresServer) -> None:
    store = PostgresStore(own_postgresql.url)
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
    await asyncio.to_thread(own_postgresql.kill)
    await asyncio.gather(*callers)
    await asyncio.to_thread(own_postgresql.start)
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
