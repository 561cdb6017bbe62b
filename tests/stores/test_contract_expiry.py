"""What every store does, whatever it is made of: what it forgets, and what it keeps."""

from __future__ import annotations

import pytest

from connectors._stores import Attention, Deletion, Record, State, job_of
from tests.stores.conftest import Servers
from tests.stores.steps import LEASE, LONG, SUBJECT, found, keys_waiting, make_job, make_unknown, put, reserve, state

pytestmark = pytest.mark.anyio


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


async def test_a_key_that_was_forgotten_is_new_to_the_server_that_wrote_it_last_and_forgot_it(servers: Servers) -> None:
    await make_job(servers.first)
    servers.clock.advance(60)
    assert await servers.first.expire(older_than=60) == 1
    claim = await reserve(servers.first)
    assert claim.mine
    assert not claim.looked_for


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
