"""What every store does, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from connectors._stores import Claim, Record, State, Store
from tests.stores.conftest import Clock, Servers

pytestmark = pytest.mark.anyio

LEASE = 0.2
"""Seconds. The steps of the clock below are as small, so that a store with a real clock can take them too."""
LONG = 60.0


async def reserve(store: Store, key: str = "k", owner: str = "a", lease: float = LEASE) -> Claim:
    return await store.reserve(key, owner=owner, lease=lease, task_type="bigquery", fingerprint="f")


async def state(store: Store, key: str = "k") -> State | None:
    record = await store.find(key)
    return None if record is None else record.state


# ------------------------------------------------------------------------------------------------------------- reserve


async def test_a_new_key_is_granted_and_no_job_is_suspected(store: Store) -> None:
    assert await reserve(store) == Claim(Record("k", "bigquery", State.RESERVED, "f"), mine=True, looked_for=False)


async def test_a_key_under_another_owners_lease_is_refused(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    claim = await reserve(servers.second, owner="b")
    assert claim == Claim(Record("k", "bigquery", State.RESERVED, "f"), mine=False, looked_for=False)


async def test_when_the_lease_ran_out_another_owner_gets_the_key_and_has_to_look_for_the_job(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    await servers.clock.advance(LEASE + 0.05)
    claim = await reserve(servers.second, owner="b")
    assert (claim.mine, claim.looked_for) == (True, True)


async def test_a_key_whose_create_is_unknown_is_granted_at_once_and_the_job_has_to_be_looked_for(
    servers: Servers,
) -> None:
    await reserve(servers.first, owner="a", lease=LONG)
    await servers.first.mark_unknown("k", owner="a")
    claim = await reserve(servers.second, owner="b")
    assert (claim.mine, claim.looked_for, claim.record.state) == (True, True, State.RESERVED)


async def test_a_done_key_answers_its_meta_and_is_granted_to_nobody(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    await servers.first.complete("k", owner="a", meta=b"job")
    await servers.clock.advance(LEASE + 0.05)
    for owner in ("a", "b"):
        claim = await reserve(servers.second, owner=owner)
        assert claim == Claim(Record("k", "bigquery", State.DONE, "f", b"job"), mine=False, looked_for=False)


async def test_an_owner_that_reserves_again_keeps_the_key_and_renews_the_lease(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    claim = await reserve(servers.first, owner="a", lease=LONG)
    await servers.clock.advance(LEASE + 0.05)
    assert (claim.mine, claim.looked_for) == (True, True)
    assert not (await reserve(servers.second, owner="b")).mine


async def test_task_type_and_fingerprint_stay_those_of_the_first_reservation(servers: Servers) -> None:
    await reserve(servers.first)
    await servers.first.mark_unknown("k", owner="a")
    claim = await servers.second.reserve("k", owner="b", lease=LEASE, task_type="other", fingerprint="other")
    assert claim.record == Record("k", "bigquery", State.RESERVED, "f")
    assert await servers.first.find("k") == claim.record


async def test_of_64_owners_on_two_servers_exactly_one_gets_the_key(servers: Servers) -> None:
    claims = await asyncio.gather(
        *(reserve((servers.first, servers.second)[n % 2], owner=f"{n}", lease=LONG) for n in range(64))
    )
    assert Counter(claim.mine for claim in claims) == {True: 1, False: 63}


async def test_600_keys_reserved_and_completed_at_once_are_all_done(servers: Servers) -> None:
    async def create(key: str, store: Store) -> bool:
        claim = await reserve(store, key, owner=key, lease=LONG)
        return claim.mine and not claim.looked_for and await store.complete(key, owner=key, meta=key.encode())

    keys = [f"k{n}" for n in range(600)]
    assert all(await asyncio.gather(*(create(key, servers.first) for key in keys)))
    records = await asyncio.gather(*(servers.second.find(key) for key in keys))
    assert [record and record.meta for record in records] == [key.encode() for key in keys]


# ----------------------------------------------------------------------------------- renew, complete, unknown, release


async def test_a_renewed_lease_runs_from_the_renewal(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    await servers.clock.advance(LEASE - 0.05)
    assert await servers.first.renew("k", owner="a", lease=LEASE)
    await servers.clock.advance(LEASE - 0.05)
    assert not (await reserve(servers.second, owner="b")).mine
    await servers.clock.advance(0.1)
    assert (await reserve(servers.second, owner="b")).mine


async def test_an_owner_whose_lease_ran_out_unnoticed_still_completes(store: Store, clock: Clock) -> None:
    await reserve(store)
    await clock.advance(LEASE + 0.05)
    assert await store.complete("k", owner="a", meta=b"job")
    assert await state(store) is State.DONE


async def test_an_owner_that_lost_the_key_changes_nothing(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    await servers.clock.advance(LEASE + 0.05)
    await reserve(servers.second, owner="b")
    assert not await servers.first.renew("k", owner="a", lease=LONG)
    assert not await servers.first.complete("k", owner="a", meta=b"job of a")
    assert not await servers.first.mark_unknown("k", owner="a")
    assert not await servers.first.release("k", owner="a")
    assert await servers.first.find("k") == Record("k", "bigquery", State.RESERVED, "f")
    assert await servers.second.complete("k", owner="b", meta=b"job of b")


async def test_nothing_can_be_done_to_a_key_that_does_not_exist(store: Store) -> None:
    assert not await store.renew("k", owner="a", lease=LEASE)
    assert not await store.complete("k", owner="a", meta=b"job")
    assert not await store.mark_unknown("k", owner="a")
    assert not await store.release("k", owner="a")
    assert await store.find("k") is None


async def test_a_completion_may_be_repeated_by_its_owner(servers: Servers) -> None:
    await reserve(servers.first)
    assert await servers.first.complete("k", owner="a", meta=b"job")
    assert await servers.second.complete("k", owner="a", meta=b"job")
    assert not await servers.second.complete("k", owner="b", meta=b"job")


async def test_what_is_done_does_not_change(store: Store) -> None:
    await reserve(store)
    await store.complete("k", owner="a", meta=b"job")
    assert not await store.complete("k", owner="a", meta=b"another")
    assert not await store.renew("k", owner="a", lease=LONG)
    assert not await store.mark_unknown("k", owner="a")
    assert not await store.release("k", owner="a")
    assert await store.find("k") == Record("k", "bigquery", State.DONE, "f", b"job")


async def test_unknown_may_be_repeated_and_has_to_be_reserved_before_it_can_be_completed(store: Store) -> None:
    await reserve(store)
    assert await store.mark_unknown("k", owner="a")
    assert await store.mark_unknown("k", owner="a")
    assert not await store.mark_unknown("k", owner="b")
    assert not await store.complete("k", owner="a", meta=b"job")
    assert await state(store) is State.UNKNOWN


async def test_a_released_key_is_as_new(servers: Servers) -> None:
    await reserve(servers.first, owner="a", lease=LONG)
    assert not await servers.second.release("k", owner="b")
    assert await servers.first.release("k", owner="a")
    assert await servers.second.find("k") is None
    claim = await servers.second.reserve("k", owner="b", lease=LEASE, task_type="other")
    assert claim == Claim(Record("k", "other", State.RESERVED), mine=True, looked_for=False)


@pytest.mark.parametrize("meta", [b"", bytes(range(256)), b"\x00" * 70_000])
async def test_any_bytes_can_be_a_meta(servers: Servers, meta: bytes) -> None:
    await reserve(servers.first)
    await servers.first.complete("k", owner="a", meta=meta)
    assert (await reserve(servers.second)).record.meta == meta


@pytest.mark.parametrize("text", ["", "a\x00b", "\x00", 'quo"te\\', "snow ❄ and 🛷", "\u2028\ufeff\x1f\x7f"])
async def test_any_text_can_be_a_key_and_a_task_type(servers: Servers, text: str) -> None:
    await servers.first.reserve(text, owner=text, lease=LONG, task_type=text, fingerprint=text)
    await servers.first.complete(text, owner=text, meta=b"job")
    assert await servers.second.find(text) == Record(text, text, State.DONE, text, b"job")


async def test_a_cancelled_caller_leaves_the_store_usable(servers: Servers) -> None:
    tasks = [asyncio.ensure_future(reserve(servers.first, f"k{n}", lease=LONG)) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all([(await reserve(servers.first, f"k{n}", lease=LONG)).mine for n in range(50)])


# ------------------------------------------------------------------------------------------------------------ payloads


async def test_a_payload_is_kept_for_its_time(servers: Servers) -> None:
    await servers.first.save("k", "result", b"bytes", ttl=LEASE)
    assert await servers.second.load("k", "result") == b"bytes"
    await servers.clock.advance(LEASE + 0.05)
    assert await servers.second.load("k", "result") is None


async def test_a_later_payload_replaces_the_earlier_one_and_its_time(servers: Servers) -> None:
    await servers.first.save("k", "result", b"earlier", ttl=LEASE)
    await servers.second.save("k", "result", b"", ttl=LONG)
    await servers.clock.advance(LEASE + 0.05)
    await servers.first.expire(older_than=LONG)
    assert await servers.first.load("k", "result") == b""


async def test_payloads_of_two_kinds_and_two_keys_are_apart(store: Store) -> None:
    await store.save("k", "request", b"request", ttl=LONG)
    assert await store.load("k", "result") is None
    assert await store.load("other", "request") is None


async def test_releasing_a_key_leaves_its_payloads(store: Store) -> None:
    await reserve(store)
    await store.save("k", "request", b"request", ttl=LONG)
    await store.release("k", owner="a")
    assert await store.load("k", "request") == b"request"


# -------------------------------------------------------------------------------------------------------------- expire


async def test_records_that_did_not_change_for_the_given_time_are_forgotten(store: Store, clock: Clock) -> None:
    await reserve(store, "done")
    await store.complete("done", owner="a", meta=b"job")
    await reserve(store, "unknown")
    await store.mark_unknown("unknown", owner="a")
    await reserve(store, "abandoned")
    await clock.advance(LEASE)
    await reserve(store, "young")
    await clock.advance(LEASE)
    assert await store.expire(older_than=1.5 * LEASE) == 3
    assert [await state(store, key) for key in ("done", "unknown", "abandoned")] == [None, None, None]
    assert await state(store, "young") is State.RESERVED


async def test_a_record_under_a_running_lease_is_not_forgotten_and_hides_no_other(store: Store, clock: Clock) -> None:
    await reserve(store, "held", lease=LONG)
    await reserve(store, "abandoned")
    await clock.advance(2 * LEASE)
    assert await store.expire(older_than=LEASE, limit=1) == 1
    assert await state(store, "held") is State.RESERVED
    assert await state(store, "abandoned") is None


async def test_a_lease_ends_with_the_create_it_was_for(store: Store, clock: Clock) -> None:
    await reserve(store, "done", lease=LONG)
    await store.complete("done", owner="a", meta=b"job")
    await reserve(store, "unknown", lease=LONG)
    await store.mark_unknown("unknown", owner="a")
    await clock.advance(LEASE + 0.05)
    assert await store.expire(older_than=LEASE) == 2


async def test_a_renewal_is_a_change(store: Store, clock: Clock) -> None:
    await reserve(store, lease=0.05)
    await clock.advance(LEASE)
    await store.renew("k", owner="a", lease=0.05)
    await clock.advance(0.1)
    assert await store.expire(older_than=LEASE) == 0


async def test_a_refused_reservation_is_no_change(store: Store, clock: Clock) -> None:
    await reserve(store)
    await store.complete("k", owner="a", meta=b"job")
    await clock.advance(LEASE + 0.05)
    await reserve(store, owner="b")
    assert await store.expire(older_than=LEASE) == 1


async def test_expiry_goes_in_steps_of_the_limit_the_oldest_records_first(store: Store, clock: Clock) -> None:
    for n in range(5):
        await reserve(store, f"k{n}", lease=0.01)
        await clock.advance(0.02)
    assert await store.expire(older_than=0.0, limit=2) == 2
    assert [await state(store, f"k{n}") is None for n in range(5)] == [True, True, False, False, False]
    assert await store.expire(older_than=0.0, limit=2) == 2
    assert await store.expire(older_than=0.0, limit=2) == 1
    assert await store.expire(older_than=0.0, limit=2) == 0


async def test_payloads_and_records_count_towards_one_limit(servers: Servers) -> None:
    for n in range(3):
        await servers.first.save(f"k{n}", "result", b"bytes", ttl=0.01)
        await reserve(servers.first, f"k{n}", lease=0.01)
    await servers.first.save("kept", "result", b"bytes", ttl=LONG)
    await servers.clock.advance(0.05)
    assert [await servers.second.expire(older_than=0.02, limit=4) for _ in range(3)] == [4, 2, 0]
    assert await servers.second.load("kept", "result") == b"bytes"
