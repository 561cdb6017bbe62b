"""What only a Redis store can get wrong: a server that goes, comes back, refuses or forgets, and shared connections."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from redis import Redis

from connectors._stores import Attention, Record, State, StoreUnavailable
from connectors._stores.redis import RedisStore
from tests.stores.redis_server import RedisServer, available, redis_server

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(available() is not None, reason=str(available()))]

LEASE = 60.0
Refusing = Callable[[Redis], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), "--enable-debug-command", "yes") as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    with Redis.from_url(shared.url) as client:
        client.flushall()
    return shared


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that syncs every write, which the test may kill."""
    with redis_server(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
async def store(server: RedisServer, anyio_backend: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, answer_within=60.0)  # hundreds of operations at once take a busy machine a while
    await store.start()
    yield store
    await store.aclose()


@pytest.fixture
async def kept(own: RedisServer, anyio_backend: str) -> AsyncIterator[RedisStore]:
    """A store on the server that the test may kill."""
    store = RedisStore(own.url)
    await store.start()
    yield store
    await store.aclose()


async def reserve(store: RedisStore, key: str = "k", owner: str = "a") -> bool:
    claim = await store.reserve(key, owner=owner, lease=LEASE, task_type="t", subject={"project": "p"})
    return claim.mine


async def done(store: RedisStore, key: str) -> Record:
    assert await reserve(store, key)
    assert await store.complete(key, owner="a", meta=key.encode())
    record = await store.find(key)
    assert record is not None
    return record


def names(admin: Redis) -> list[str]:
    """Of all that the database holds."""
    return [name.decode() for name in admin.scan_iter() if isinstance(name, bytes)]


def one_more(record: Record | None, now: float) -> tuple[Record, None]:
    record = record or Record("k", "t")
    return replace(record, latest=record.latest + 1), None


async def test_no_change_is_lost_where_two_servers_change_one_record_at_once(server: RedisServer) -> None:
    stores = [RedisStore(server.url, answer_within=60.0) for _ in range(2)]
    await asyncio.gather(*(stores[n % 2]._change("k", one_more) for n in range(100)))
    record = await stores[0].find("k")
    assert record is not None
    assert record.latest == 100
    for store in stores:
        await store.aclose()


async def test_times_are_the_servers_clock(store: RedisStore, admin: Redis) -> None:
    before = admin.time()
    now = await store.now()
    claim = await store.reserve("k", owner="a", lease=LEASE, task_type="t")
    after = admin.time()
    assert before[0] + before[1] / 1e6 <= now <= claim.record.created <= after[0] + after[1] / 1e6
    assert claim.record.lease_until == claim.record.created + LEASE


async def test_a_payload_runs_out_by_the_servers_clock(store: RedisStore, admin: Redis) -> None:
    await store.save("k", "result", b"short", ttl=-1.0)
    await store.save("k", "fresh", b"long", ttl=LEASE)
    assert await store.load("k", "result") is None
    assert await store.load("k", "fresh") == b"long"
    assert await store.expire(older_than=LEASE) == 1
    assert admin.zrange("{connectors}:payloads", 0, -1) == [b"fresh:k"]
    assert admin.exists("{connectors}:payload:result:k") == 0


async def test_a_database_number_is_a_store_of_its_own(server: RedisServer, store: RedisStore, admin: Redis) -> None:
    other = RedisStore(server.url.replace("/0", "/1"))
    await other.start()
    assert await reserve(store)
    assert await reserve(other)
    await other.aclose()
    assert {name.partition(":")[0] for name in names(admin)} == {"{connectors}"}


async def test_all_that_was_written_of_forgotten_records_is_gone(store: RedisStore, admin: Redis) -> None:
    for n in range(250):
        await done(store, f"k{n}")
    await store.want_deletion("k1", reason="")
    await store.save("k1", "result", b"", ttl=0)
    assert await store.expire(older_than=0.0, limit=120) == 120
    assert await store.expire(older_than=0.0, limit=1_000) == 131
    assert names(admin) == ["{connectors}:schema"]


async def test_a_record_that_somebody_deleted_by_hand_blocks_nothing(store: RedisStore, admin: Redis) -> None:
    for n in range(20):
        await done(store, f"k{n:02}")
    admin.delete(*(f"{{connectors}}:record:k{n:02}" for n in range(19)))
    [left] = await store.waiting(Attention.IDLE, older_than=0.0, limit=1)
    assert left.key == "k19"
    assert [record.key async for record in store.records()] == ["k19"]
    while await store.expire(older_than=0.0):
        pass
    assert [record.key async for record in store.records()] == []


async def test_more_records_than_a_page_are_all_listed(store: RedisStore) -> None:
    keys = {f"k{n}" for n in range(450)}
    await asyncio.gather(*(reserve(store, key) for key in keys))
    assert {record.key async for record in store.records()} == keys
    assert len(await store.waiting(Attention.UNKNOWN, older_than=0.0, limit=1_000)) == 450


async def test_scripts_that_the_server_forgot_are_loaded_again(store: RedisStore, admin: Redis) -> None:
    for n in range(30):
        admin.script_flush()
        await done(store, f"k{n}")
    admin.script_flush()
    assert await store.expire(older_than=0.0) == 30


# --- a server that is gone for a while


async def test_a_server_that_is_killed_is_unavailable_at_once_and_used_again_when_it_is_back(
    own: RedisServer, kept: RedisStore
) -> None:
    await asyncio.gather(*(reserve(kept, f"k{n}") for n in range(20)))  # several connections
    own.kill()
    for _ in range(3):
        before = time.monotonic()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await reserve(kept, "new")
        assert time.monotonic() - before < 1.0
    own.start()
    assert await reserve(kept, "new")
    assert await asyncio.gather(*(reserve(kept, f"k{n}", "b") for n in range(20))) == [False] * 20


async def test_a_server_that_was_restarted_meanwhile_is_not_noticed(own: RedisServer, kept: RedisStore) -> None:
    await asyncio.gather(*(reserve(kept, f"k{n}") for n in range(20)))
    own.kill()
    own.start()
    records = await asyncio.gather(*(kept.find(f"k{n}") for n in range(20)))
    assert [record.key for record in records if record] == [f"k{n}" for n in range(20)]
    assert await kept.complete("k0", owner="a", meta=b"m")


async def test_connections_that_the_server_closed_are_not_noticed(store: RedisStore, admin: Redis) -> None:
    await asyncio.gather(*(reserve(store, f"k{n}") for n in range(20)))
    admin.client_kill_filter(_type="normal", skipme=True)
    assert await asyncio.gather(*(store.release(f"k{n}", owner="a") for n in range(20))) == [True] * 20


async def test_kill_dash_nine_forgets_no_reservation_that_was_answered(own: RedisServer, kept: RedisStore) -> None:
    answered: list[str] = []

    async def reserve_until_killed(name: str, kill_at: int) -> None:
        for n in count():
            try:
                assert await reserve(kept, f"{name}-{n}")
            except StoreUnavailable:
                return
            answered.append(f"{name}-{n}")
            if len(answered) == kill_at:
                own.kill()

    for attempt in range(3):
        kill_at = len(answered) + random.Random(attempt).randint(20, 150)
        await asyncio.gather(*(reserve_until_killed(f"{attempt}-{n}", kill_at) for n in range(8)))
        own.start()
    assert len(answered) > 60
    assert [key for key in answered if await reserve(kept, key, "b")] == []


async def test_a_server_that_hangs_costs_two_seconds_and_no_answer_is_mixed_up_afterwards(
    own: RedisServer, kept: RedisStore
) -> None:
    for n in range(20):
        await kept.save(f"k{n}", "result", b"%d" % n, ttl=LEASE)
    own.pause()
    before = time.monotonic()
    said = await asyncio.gather(*(kept.load(f"k{n}", "result") for n in range(400)), return_exceptions=True)
    assert time.monotonic() - before < 4.0  # also for those that wait for one of the 16 connections
    assert {type(each) for each in said} == {StoreUnavailable}
    own.resume()
    for n in range(20):
        assert await kept.load(f"k{n}", "result") == b"%d" % n


@contextmanager
def replica_of_nobody(admin: Redis) -> Iterator[None]:
    admin.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        admin.replicaof("NO", "ONE")


@contextmanager
def stale_replica(admin: Redis) -> Iterator[None]:
    admin.config_set("replica-serve-stale-data", "no")
    with replica_of_nobody(admin):
        yield
    admin.config_set("replica-serve-stale-data", "yes")


def configured(name: str, value: str, normal: str) -> Refusing:
    @contextmanager
    def setting(admin: Redis) -> Iterator[None]:
        admin.config_set(name, value)
        try:
            yield
        finally:
            admin.config_set(name, normal)

    return setting


@pytest.mark.parametrize(
    ("refusing", "said"),
    [
        pytest.param(replica_of_nobody, "ReadOnlyError", id="READONLY"),
        pytest.param(stale_replica, "MasterDownError", id="MASTERDOWN"),
        pytest.param(configured("maxmemory", "1", "0"), "OutOfMemoryError", id="OOM"),
        pytest.param(configured("min-replicas-to-write", "1", "0"), "NOREPLICAS", id="NOREPLICAS"),
        pytest.param(configured("requirepass", "secret", ""), "refuses the credentials", id="NOAUTH"),
    ],
)
async def test_a_server_that_refuses_writes_is_unavailable_until_it_takes_them(
    server: RedisServer, store: RedisStore, refusing: Refusing, said: str
) -> None:
    assert await reserve(store, "before")
    with Redis.from_url(server.url) as admin, refusing(admin):
        other = RedisStore(server.url)  # a connection of its own: a password is asked of new ones
        with pytest.raises(StoreUnavailable, match=said):
            await other.complete("before", owner="a", meta=b"m")
        await other.aclose()
    assert await store.complete("before", owner="a", meta=b"m")


async def test_a_server_that_loads_its_data_is_unavailable_until_it_has(store: RedisStore, server: RedisServer) -> None:
    await asyncio.gather(*(reserve(store, f"k{n}") for n in range(500)))
    with Redis.from_url(server.url) as admin:
        admin.config_set("key-load-delay", "2000")  # microseconds; 500 records and as many others
        admin.config_set("loading-process-events-interval-bytes", "1024")
        reload = asyncio.create_task(asyncio.to_thread(admin.execute_command, "DEBUG RELOAD"))
        said: set[str] = set()
        while not reload.done():
            try:
                assert await store.find("k0")
            except StoreUnavailable as error:
                said.add(error.message)
        await reload
        admin.config_set("key-load-delay", "0")
    assert any("loading" in message for message in said)
    assert not await reserve(store, "k0", "b")


# --- connections


async def connected(admin: Redis) -> int:
    """How many clients the server has, with ``admin``; it hears of a closed connection a moment later."""
    for _ in range(1_000):
        if len(admin.client_list()) == 1:
            break
        await asyncio.sleep(0)
    return len(admin.client_list())


async def test_after_200_cancelled_operations_every_answer_belongs_to_its_question(
    store: RedisStore, admin: Redis
) -> None:
    chance = random.Random(7)
    for n in range(50):
        await done(store, f"k{n}")
        await store.save(f"k{n}", "result", b"%d" % n * 1_000, ttl=LEASE)

    async def ask(n: int) -> None:
        match chance.randrange(3):
            case 0:
                assert await store.load(f"k{n}", "result") == b"%d" % n * 1_000
            case 1:
                record = await store.find(f"k{n}")
                assert record is not None
                assert record.meta == b"k%d" % n
            case _:
                assert not await reserve(store, f"k{n}", "b")

    cancelled = 0
    while cancelled < 200:
        tasks = [asyncio.create_task(ask(chance.randrange(50))) for _ in range(10)]
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        said = await asyncio.gather(*tasks, return_exceptions=True)
        assert [each for each in said if isinstance(each, Exception)] == []
        cancelled += sum(isinstance(each, asyncio.CancelledError) for each in said)
    await asyncio.gather(*(ask(n % 50) for n in range(500)))  # every connection, and every turn
    assert len(admin.client_list()) <= 65


async def test_a_cancelled_change_is_made_as_a_whole_or_not_at_all(store: RedisStore) -> None:
    for n in range(100):
        task = asyncio.create_task(done(store, f"k{n}"))
        for _ in range(n % 25):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    kept = {record.key: record async for record in store.records()}
    waiting = {record.key for state in Attention for record in await store.waiting(state, older_than=0, limit=200)}
    assert waiting == set(kept)
    for record in kept.values():
        assert record.state is State.RESERVED or await store.find_job(record.job) == record


async def test_a_thousand_operations_at_once_share_16_connections(server: RedisServer, admin: Redis) -> None:
    # The first 16 have to wait while the event loop begins all the others: on a busy machine, for seconds.
    store = RedisStore(server.url, answer_within=60.0)
    assert all(await asyncio.gather(*(reserve(store, f"k{n}") for n in range(1_000))))
    assert len(admin.client_list()) == 17  # the test's own too
    await store.aclose()


async def test_a_closed_store_keeps_no_connection(server: RedisServer, admin: Redis) -> None:
    store = RedisStore(server.url)
    await asyncio.gather(*(reserve(store, f"k{n}") for n in range(100)))
    late = asyncio.create_task(reserve(store, "late"))
    await asyncio.sleep(0)
    await store.aclose()
    assert await late
    assert await connected(admin) == 1


async def test_after_a_refusal_new_connections_are_made_since_the_old_may_lead_to_a_former_primary(
    store: RedisStore, admin: Redis
) -> None:
    await asyncio.gather(*(reserve(store, f"k{n}") for n in range(10)))
    assert len(admin.client_list()) == 11
    with replica_of_nobody(admin), pytest.raises(StoreUnavailable):
        await reserve(store, "k")
    assert await connected(admin) == 1
