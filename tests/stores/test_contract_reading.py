"""What every store does, whatever it is made of: what is found in it, payloads, and what it forgets."""

from __future__ import annotations

import anyio
import pytest

from connectors._stores import Attention, Deletion, Delivery, Record, State, Store, job_of
from tests.stores.conftest import Make, Servers
from tests.stores.steps import LEASE, LONG, SUBJECT, found, make_job, make_unknown, put, reserve, state

pytestmark = pytest.mark.anyio


async def keys_waiting(store: Store, attention: Attention, older_than: float = 0.0, limit: int = 100) -> list[str]:
    return [record.key for record in await store.waiting(attention, older_than=older_than, limit=limit)]


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


# ------------------------------------------------------------------------------------------------------------ payloads


async def test_a_payload_is_kept_for_its_time(servers: Servers) -> None:
    await servers.first.save("k", "result", b"bytes", ttl=8)
    servers.clock.advance(7)
    assert await servers.second.load("k", "result") == b"bytes"
    servers.clock.advance(1)
    assert await servers.second.load("k", "result") is None


async def test_a_later_payload_replaces_the_earlier_one_and_its_time(servers: Servers) -> None:
    await servers.first.save("k", "result", b"earlier", ttl=8)
    await servers.second.save("k", "result", b"", ttl=LONG)
    servers.clock.advance(8)
    assert await servers.first.expire(older_than=LONG) == 0
    assert await servers.first.load("k", "result") == b""
    await servers.first.save("k", "result", b"later", ttl=8)
    servers.clock.advance(8)
    assert await servers.second.load("k", "result") is None


async def test_payloads_of_two_kinds_and_two_keys_are_apart(store: Store) -> None:
    await store.save("k", "request", b"request", ttl=LONG)
    assert await store.load("k", "result") is None
    assert await store.load("other", "request") is None
    await store.save("k", "given", b"given", ttl=LONG)
    await store.save("k", "fresh", b"fresh", ttl=LONG)
    assert [await store.load("k", kind) for kind in ("request", "given", "fresh")] == [b"request", b"given", b"fresh"]


async def test_a_dropped_payload_is_gone_and_no_other(servers: Servers) -> None:
    await servers.first.save("k", "request", b"request", ttl=LONG)
    await servers.first.save("k", "result", b"result", ttl=LONG)
    await servers.second.drop("k", "request")
    await servers.second.drop("k", "given")
    assert await servers.first.load("k", "request") is None
    assert await servers.first.load("k", "result") == b"result"


@pytest.mark.parametrize("data", [b"", bytes(range(256)), b"\x00" * 1_000_000])
async def test_any_bytes_can_be_a_payload(servers: Servers, data: bytes) -> None:
    await servers.first.save("k", "result", data, ttl=LONG)
    assert await servers.second.load("k", "result") == data


@pytest.mark.parametrize("key", ["", "a\x00b", "snow ❄", "a:b/{c}"])
async def test_any_text_can_be_a_payloads_key(servers: Servers, key: str) -> None:
    await servers.first.save(key, "result", b"bytes", ttl=8)
    assert await servers.second.load(key, "result") == b"bytes"
    servers.clock.advance(8)
    assert await servers.second.expire(older_than=LONG) == 1


@pytest.mark.parametrize("end", ["released", "forgotten", "expired"])
async def test_a_record_that_goes_leaves_its_payloads(servers: Servers, end: str) -> None:
    await reserve(servers.first)
    await servers.first.save("k", "request", b"request", ttl=LONG)
    match end:
        case "released":
            await servers.first.release("k", owner="a")
        case "forgotten":
            await servers.first.forget("k")
        case _:
            servers.clock.advance(60)
            assert await servers.first.expire(older_than=60) == 1
    assert await servers.second.find("k") is None
    assert await servers.second.load("k", "request") == b"request"


# -------------------------------------------------------------------------------------------------------------- expire


async def test_records_that_did_not_change_for_the_given_time_are_forgotten_whatever_they_say(
    servers: Servers,
) -> None:
    store, at = servers.first, servers.clock.now
    await make_job(store, "done")
    await make_unknown(store, "unknown")
    await reserve(store, "abandoned")
    await make_job(store, "wanted")
    await store.want_deletion("wanted", reason="aborted")
    await put(store, Record("over", "t", State.DONE, changed=at, deletion=Deletion.DONE))
    servers.clock.advance(1)
    await make_job(store, "young")
    servers.clock.advance(59)
    assert await servers.second.expire(older_than=60) == 5
    assert [await state(store, key) for key in ("done", "unknown", "abandoned", "wanted", "over")] == [None] * 5
    assert await state(store, "young") is State.DONE
    assert [record.key async for record in store.records()] == ["young"]
    assert await keys_waiting(store, Attention.IDLE) == ["young"]
    assert await keys_waiting(store, Attention.DELETE) == []
    assert await store.find_job(job_of("bigquery", 1, b"job")) == await found(store, "young")


async def test_a_record_under_a_running_lease_is_not_forgotten_and_hides_no_other(servers: Servers) -> None:
    for n in range(5):
        await reserve(servers.first, f"held{n}", lease=LONG)
    await reserve(servers.first, "abandoned", lease=60)
    servers.clock.advance(60)
    assert await servers.second.expire(older_than=60, limit=1) == 1
    assert await state(servers.first, "held0") is State.RESERVED
    assert await state(servers.first, "abandoned") is None


async def test_a_lease_ends_with_the_create_it_was_for(servers: Servers) -> None:
    await reserve(servers.first, "done", lease=LONG)
    await servers.first.complete("done", owner="a", meta=b"job")
    await reserve(servers.first, "unknown", lease=LONG)
    await servers.first.mark_unknown("unknown", owner="a")
    servers.clock.advance(60)
    assert await servers.second.expire(older_than=60) == 2


async def test_every_change_lets_a_record_live_on(servers: Servers) -> None:
    store = servers.first
    await reserve(store, lease=1)
    for change in (
        lambda: store.renew("k", owner="a", lease=1),
        lambda: store.mark_unknown("k", owner="a"),
        lambda: reserve(store, owner="b", lease=1),
        lambda: store.complete("k", owner="b", meta=b"job"),
        lambda: store.note("k", delivered=False),
        lambda: store.note("k", polled=True),
        lambda: store.note("k", terminal="FAILED"),
        lambda: store.advance("k", 1),
        lambda: store.want_deletion("k", reason="aborted"),
        lambda: store.claim_deletion("k", hold=1),
        lambda: store.note_deleted("k"),
        lambda: store.set_aside("k", reason="reported"),
    ):
        servers.clock.advance(40)
        await change()
        servers.clock.advance(40)
        assert await servers.second.expire(older_than=60) == 0
    servers.clock.advance(20)
    assert await servers.second.expire(older_than=60) == 1


async def test_what_is_refused_or_only_read_is_no_change(servers: Servers) -> None:
    store = servers.first
    record = await make_job(store)
    servers.clock.advance(60)
    await reserve(store, owner="b")
    await store.renew("k", owner="a", lease=LEASE)
    await store.complete("k", owner="a", meta=b"job")
    await store.mark_unknown("k", owner="a")
    await store.release("k", owner="a")
    await store.claim_deletion("k", hold=LEASE)
    await store.note("k")
    await store.find("k")
    await store.find_job(record.job)
    assert await servers.second.expire(older_than=60) == 1


async def test_expiry_goes_in_steps_of_the_limit_the_oldest_records_first(servers: Servers) -> None:
    for n in (2, 0, 4, 1, 3):
        await make_job(servers.first, f"k{n}")
        servers.clock.advance(1)
    assert await servers.second.expire(older_than=0, limit=2) == 2
    assert [await state(servers.first, f"k{n}") is None for n in (2, 0, 4, 1, 3)] == [True, True, False, False, False]
    assert [await servers.second.expire(older_than=0, limit=2) for _ in range(3)] == [2, 1, 0]


async def test_payloads_and_records_count_towards_one_limit(servers: Servers) -> None:
    for n in range(3):
        await servers.first.save(f"k{n}", "result", b"bytes", ttl=1)
        await make_job(servers.first, f"k{n}")
    await servers.first.save("kept", "result", b"bytes", ttl=LONG)
    servers.clock.advance(2)
    assert [await servers.second.expire(older_than=2, limit=4) for _ in range(3)] == [4, 2, 0]
    assert await servers.second.load("kept", "result") == b"bytes"


async def test_a_payload_is_forgotten_when_it_ran_out_however_young_its_record_is(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.save("k", "result", b"bytes", ttl=8)
    servers.clock.advance(8)
    assert await servers.second.expire(older_than=LONG) == 1
    assert await state(servers.first) is State.DONE


async def test_a_forgotten_key_is_as_new(servers: Servers) -> None:
    await make_job(servers.first)
    servers.clock.advance(60)
    await servers.second.expire(older_than=60)
    claim = await reserve(servers.first, owner="b")
    assert (claim.mine, claim.looked_for, claim.record.created) == (True, False, servers.clock.now)
    assert claim.record.subject == SUBJECT
