"""What every store does, whatever it is made of: what is found in it."""

from __future__ import annotations

import anyio
import pytest

from connectors._stores import Attention, Delivery, Record, State, Store, job_of
from tests.stores.conftest import Make, Servers
from tests.stores.steps import LEASE, LONG, found, keys_waiting, make_job, make_unknown, put, reserve

pytestmark = pytest.mark.anyio


# --------------------------------------------------------------------------------------------------------------- clock


async def test_the_clock_is_the_stores(servers: Servers) -> None:
    assert await servers.first.now() == servers.clock.now
    servers.clock.advance(1.5)
    assert await servers.second.now() == servers.clock.now


async def test_a_lease_runs_out_on_the_stores_own_clock_which_both_servers_share(make: Make) -> None:
    stores = make(None)
    first, second = stores[0], stores[-1]
    for store in stores:
        await store.start()
    began = await first.now()
    assert (await reserve(first, owner="a", lease=0.3)).mine
    assert (await reserve(first, "held", owner="a", lease=LONG)).mine
    await second.save("k", "result", b"bytes", ttl=0.3)
    with anyio.fail_after(30):
        claim = await reserve(second, owner="b", lease=LONG)
        while not claim.mine:
            await anyio.sleep(0.02)
            claim = await reserve(second, owner="b", lease=LONG)
    assert claim.looked_for
    assert await second.now() - began >= 0.3
    assert claim.record.changed - claim.record.created >= 0.3
    assert not (await reserve(second, "held", owner="b")).mine
    with anyio.fail_after(30):
        loaded = await first.load("k", "result")
        while loaded is not None:
            await anyio.sleep(0.02)
            loaded = await first.load("k", "result")
    for store in stores:
        await store.aclose()


# ------------------------------------------------------------------------------------------------------- find, find_job


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    await make_job(store, "another")
    assert await store.find("k") is None
    assert await store.find_job(job_of("bigquery", 1, b"no such job")) is None


async def test_a_job_is_found_by_what_its_meta_leads_to(servers: Servers) -> None:
    record = await make_job(servers.first)
    await make_job(servers.first, "another", b"another")
    assert await servers.second.find_job(job_of("bigquery", 1, b"job")) == record
    assert await servers.second.find_job(job_of("bigquery", 2, b"job")) is None


async def test_no_job_is_no_jobs_name(store: Store) -> None:
    await reserve(store)
    await make_unknown(store, "unknown")
    assert await store.find_job("") is None


async def test_of_several_records_of_a_job_the_one_that_changed_last_is_found(servers: Servers) -> None:
    for key in ("k2", "k3", "k1"):
        await make_job(servers.first, key)
        servers.clock.advance(1)
    job = job_of("bigquery", 1, b"job")
    assert await servers.second.find_job(job) == await found(servers.first, "k1")
    await servers.second.note("k3", polled=True)
    assert await servers.first.find_job(job) == await found(servers.first, "k3")
    await servers.first.forget("k3")
    assert await servers.second.find_job(job) == await found(servers.first, "k1")


# ------------------------------------------------------------------------------------------------------------- waiting


async def test_records_wait_for_what_they_wait_for_and_for_nothing_else(servers: Servers) -> None:
    first = servers.first
    await reserve(first, "reserved")
    await make_unknown(first, "unknown")
    await make_job(first, "idle")
    await make_job(first, "lost")
    await first.note("lost", delivered=False)
    await make_job(first, "delete")
    await first.want_deletion("delete", reason="aborted")
    await make_job(first, "ended")
    await first.note("ended", terminal="SUCCEEDED")
    await first.reserve("lock", owner="a", lease=LEASE, task_type="t")
    found_for = {
        attention: sorted(await keys_waiting(servers.second, attention))
        for attention in Attention
        if attention is not Attention.NONE
    }
    assert found_for == {
        Attention.UNKNOWN: ["reserved", "unknown"],
        Attention.LOST: ["lost"],
        Attention.IDLE: ["idle"],
        Attention.DELETE: ["delete"],
    }


async def test_what_waits_for_nothing_is_not_found_by_it(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note_deleted("k")
    assert await keys_waiting(servers.second, Attention.NONE) == []


async def test_a_record_is_found_from_the_given_age_on_the_longest_waiting_first(servers: Servers) -> None:
    for key in ("k2", "k3", "k1"):
        await make_job(servers.first, key)
        servers.clock.advance(10)
    assert await keys_waiting(servers.second, Attention.IDLE) == ["k2", "k3", "k1"]
    assert await keys_waiting(servers.second, Attention.IDLE, 20) == ["k2", "k3"]
    assert await keys_waiting(servers.second, Attention.IDLE, 21) == ["k2"]
    assert await keys_waiting(servers.second, Attention.IDLE, 31) == []


async def test_no_more_than_the_limit_are_found_and_asking_changes_nothing(servers: Servers) -> None:
    for n in range(7):
        await make_job(servers.first, f"k{n}")
        servers.clock.advance(1)
    for _ in range(2):
        assert await keys_waiting(servers.second, Attention.IDLE, limit=3) == ["k0", "k1", "k2"]
    assert len(await keys_waiting(servers.second, Attention.IDLE, limit=7)) == 7


async def test_found_records_are_whole(servers: Servers) -> None:
    record = await make_job(servers.first)
    assert await servers.second.waiting(Attention.IDLE, older_than=0) == [record]


async def test_a_lost_answer_waits_from_when_that_became_known(servers: Servers) -> None:
    await make_job(servers.first)
    servers.clock.advance(60)
    await servers.first.note("k", delivered=False)
    servers.clock.advance(1)
    assert await keys_waiting(servers.second, Attention.LOST, 1) == ["k"]
    assert await keys_waiting(servers.second, Attention.LOST, 2) == []


async def test_a_record_that_moved_on_waits_from_then(servers: Servers) -> None:
    await make_job(servers.first, "polled")
    await make_job(servers.first, "lost")
    await servers.first.note("lost", delivered=False)
    await make_unknown(servers.first, "unknown")
    servers.clock.advance(60)
    await servers.first.note("polled", polled=True)
    await servers.first.note("lost", polled=True)
    await reserve(servers.first, "unknown", owner="b")
    for attention in (Attention.IDLE, Attention.LOST, Attention.UNKNOWN):
        assert await keys_waiting(servers.second, attention, 1) == []
    assert sorted(await keys_waiting(servers.second, Attention.IDLE)) == ["lost", "polled"]
    assert await keys_waiting(servers.second, Attention.UNKNOWN) == ["unknown"]


async def test_a_record_that_comes_back_to_what_it_waited_for_is_found_once(servers: Servers) -> None:
    at = servers.clock.now
    idle = Record("k", "t", State.DONE, tracked=True, changed=at, done_at=at)
    lost = Record("k", "t", State.DONE, tracked=True, changed=at, done_at=at, delivery=Delivery.LOST)
    for record in (idle, lost, idle, lost, idle):
        await put(servers.first, record)
    assert await keys_waiting(servers.second, Attention.IDLE) == ["k"]
    assert await keys_waiting(servers.second, Attention.IDLE) == ["k"]
    assert await keys_waiting(servers.second, Attention.LOST) == []


# ------------------------------------------------------------------------------------------------------------- records


async def test_every_tracked_record_is_listed_whole_and_no_lock(servers: Servers) -> None:
    await make_job(servers.first, "done")
    await make_unknown(servers.first, "unknown")
    await reserve(servers.first, "reserved")
    await make_job(servers.first, "ended")
    await servers.first.note("ended", terminal="SUCCEEDED")
    await servers.first.reserve("lock", owner="a", lease=LEASE, task_type="t")
    listed = [record async for record in servers.second.records()]
    expected = [await found(servers.first, key) for key in ("done", "ended", "reserved", "unknown")]
    assert sorted(listed, key=lambda record: record.key) == expected


async def test_a_long_list_is_whole_and_holds_each_record_once(servers: Servers) -> None:
    at = servers.clock.now
    keys = {"", *(f"{letter}{n}" for letter in ("k", "K\x00", "❄") for n in range(380))}
    await put(servers.first, *(Record(key, "t", tracked=True, created=at, changed=at) for key in keys))
    listed = [record.key async for record in servers.second.records()]
    assert len(listed) == len(keys)
    assert set(listed) == keys


async def test_records_can_be_changed_and_forgotten_while_they_are_listed(servers: Servers) -> None:
    at = servers.clock.now
    keys = [f"k{n}" for n in range(300)]
    await put(servers.first, *(Record(key, "t", tracked=True, created=at, changed=at) for key in keys))
    listed = set()
    async for record in servers.first.records():
        if record.key not in listed:
            listed.add(record.key)
            servers.clock.advance(1)
            if len(listed) % 2:
                await servers.second.forget(record.key)
            else:
                await servers.second.advance(record.key, 1)
    assert listed == set(keys)
    assert len({record.key async for record in servers.first.records()}) == 150


async def test_a_list_that_is_not_read_to_its_end_holds_nothing_up(servers: Servers) -> None:
    at = servers.clock.now
    await put(servers.first, *(Record(f"k{n}", "t", tracked=True, created=at, changed=at) for n in range(600)))
    records = servers.first.records()
    async for record in records:
        assert await servers.second.forget(record.key)
        assert (await reserve(servers.first, "new")).mine
        break
    assert (await reserve(servers.second, "newer")).mine
