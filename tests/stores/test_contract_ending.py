"""What every store does, whatever it is made of: how a create ends, and what is remembered of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors._stores import Attention, Claim, Deletion, Record, State, Store, job_of
from connectors._stores.rules import CLAIMED
from tests.stores.conftest import Clock, Servers
from tests.stores.steps import LEASE, LONG, UNTOLD, found, make_job, make_unknown, reserve

pytestmark = pytest.mark.anyio


# --------------------------------------------------------------------------------- complete, unknown, taken, release


async def test_a_completed_key_is_done_and_holds_its_meta_and_no_lease(servers: Servers) -> None:
    before = (await reserve(servers.first)).record
    servers.clock.advance(1)
    assert await servers.second.complete("k", owner="a", meta=b"job", fingerprint="other")
    now = servers.clock.now
    done = replace(
        before,
        state=State.DONE,
        meta=b"job",
        job=job_of("bigquery", 1, b"job"),
        lease_until=0.0,
        done_at=now,
        changed=now,
    )
    assert await servers.first.find("k") == done


async def test_a_completion_says_whose_job_was_taken_over(servers: Servers) -> None:
    await reserve(servers.first)
    assert await servers.first.complete("k", owner="a", meta=b"job", adopts="k0")
    before = await found(servers.second)
    assert before.adopts == "k0"
    for again in ("", "k1"):
        assert await servers.second.complete("k", owner="a", meta=b"job", adopts=again)
    assert not await servers.second.complete("k", owner="b", meta=b"job", adopts="k1")
    assert await servers.first.find("k") == before


@pytest.mark.parametrize("given_up", [True, False])
@pytest.mark.parametrize("remembered", [True, False])
async def test_a_deletion_that_was_wanted_before_there_was_a_job_is_due_once_there_is(
    servers: Servers, remembered: bool, given_up: bool
) -> None:
    await reserve(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    if given_up:
        await servers.first.set_aside("k", reason="given up")
    assert await servers.first.claim_deletion("k", hold=LEASE) is None
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == []
    servers.clock.advance(1)
    if remembered:
        await servers.second.remember(UNTOLD)
    else:
        await servers.second.complete("k", owner="a", meta=b"job")
    record = await found(servers.first)
    assert (record.deletion, record.delete_at, record.set_aside) == (Deletion.WANTED, servers.clock.now, False)
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == [record]


async def test_a_job_that_a_person_claimed_before_it_was_there_is_not_deleted(servers: Servers) -> None:
    await reserve(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    await servers.second.set_aside("k", reason=f"{CLAIMED}: mine")
    await servers.first.complete("k", owner="a", meta=b"job")
    assert await servers.second.claim_deletion("k", hold=LEASE) is None
    assert (await found(servers.second)).set_aside


async def test_a_completion_writes_the_fingerprint_where_there_is_none(store: Store) -> None:
    await store.reserve("k", owner="a", lease=LEASE, task_type="t")
    await store.complete("k", owner="a", meta=b"job", fingerprint="f")
    assert (await found(store)).fingerprint == "f"


@pytest.mark.parametrize("to", [State.UNKNOWN, State.TAKEN])
async def test_a_create_that_ends_without_a_job_says_how_and_holds_no_lease(servers: Servers, to: State) -> None:
    before = (await reserve(servers.first)).record
    servers.clock.advance(1)
    end = servers.second.mark_unknown if to is State.UNKNOWN else servers.second.mark_taken
    assert await end("k", owner="a")
    assert await servers.first.find("k") == replace(before, state=to, lease_until=0.0, changed=servers.clock.now)


async def test_an_owner_whose_lease_ran_out_unnoticed_still_holds_the_key(store: Store, clock: Clock) -> None:
    for key in ("completed", "unknown", "taken", "released", "renewed"):
        await reserve(store, key)
    clock.advance(LONG)
    assert await store.complete("completed", owner="a", meta=b"job")
    assert await store.mark_unknown("unknown", owner="a")
    assert await store.mark_taken("taken", owner="a")
    assert await store.release("released", owner="a")
    assert await store.renew("renewed", owner="a", lease=LEASE)
    assert (await found(store, "renewed")).lease_until == clock.now + LEASE


async def owner_a_changes_nothing(store: Store) -> None:
    before = await store.find("k")
    assert not await store.renew("k", owner="a", lease=LONG)
    assert not await store.complete("k", owner="a", meta=b"of a")
    assert not await store.mark_unknown("k", owner="a")
    assert not await store.mark_taken("k", owner="a")
    assert not await store.release("k", owner="a")
    assert await store.find("k") == before


async def test_an_owner_that_lost_the_key_changes_nothing(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    servers.clock.advance(LEASE)
    await reserve(servers.second, owner="b")
    await owner_a_changes_nothing(servers.first)
    await servers.second.mark_unknown("k", owner="b")
    await owner_a_changes_nothing(servers.first)
    await reserve(servers.second, owner="b")
    assert await servers.second.complete("k", owner="b", meta=b"of b")
    await owner_a_changes_nothing(servers.first)


async def test_nothing_can_be_done_to_a_key_that_does_not_exist(store: Store) -> None:
    await owner_a_changes_nothing(store)
    await store.advance("k", 1)
    assert await store.note("k", delivered=True, polled=True, terminal="SUCCEEDED") is None
    assert await store.want_deletion("k", reason="aborted") is None
    assert await store.claim_deletion("k", hold=LEASE) is None
    await store.note_deleted("k")
    assert not await store.set_aside("k", reason="reported")
    assert not await store.forget("k")
    assert await store.find("k") is None
    assert [record async for record in store.records()] == []


async def test_each_end_of_a_create_may_be_repeated_by_its_owner_and_changes_nothing_again(servers: Servers) -> None:
    await make_job(servers.first, "done")
    await make_unknown(servers.first, "unknown")
    await reserve(servers.first, "taken")
    await servers.first.mark_taken("taken", owner="a")
    before = [await found(servers.first, key) for key in ("done", "unknown", "taken")]
    servers.clock.advance(1)
    assert await servers.second.complete("done", owner="a", meta=b"job")
    assert await servers.second.mark_unknown("unknown", owner="a")
    assert await servers.second.mark_taken("taken", owner="a")
    assert not await servers.second.complete("done", owner="b", meta=b"job")
    assert not await servers.second.mark_unknown("unknown", owner="b")
    assert not await servers.second.mark_taken("taken", owner="b")
    assert [await found(servers.first, key) for key in ("done", "unknown", "taken")] == before


@pytest.mark.parametrize("end", ["done", "unknown", "taken"])
async def test_one_end_of_a_create_does_not_become_another(store: Store, end: str) -> None:
    await reserve(store)
    match end:
        case "done":
            await store.complete("k", owner="a", meta=b"job")
        case "unknown":
            await store.mark_unknown("k", owner="a")
        case _:
            await store.mark_taken("k", owner="a")
    before = await found(store)
    assert not await store.complete("k", owner="a", meta=b"another")
    assert await store.mark_unknown("k", owner="a") == (end == "unknown")
    assert await store.mark_taken("k", owner="a") == (end == "taken")
    assert not await store.renew("k", owner="a", lease=LONG)
    assert not await store.release("k", owner="a")
    assert await store.find("k") == before


async def test_a_released_key_is_as_new(servers: Servers) -> None:
    await reserve(servers.first, owner="a", lease=LONG)
    assert not await servers.second.release("k", owner="b")
    assert await servers.first.release("k", owner="a")
    assert await servers.second.find("k") is None
    servers.clock.advance(1)
    claim = await servers.second.reserve("k", owner="b", lease=LEASE, task_type="other")
    now = servers.clock.now
    new = Record("k", "other", run="k", owner="b", lease_until=now + LEASE, created=now, changed=now)
    assert claim == Claim(new, mine=True)


@pytest.mark.parametrize("meta", [b"", bytes(range(256)), b"\x00" * 70_000])
async def test_any_bytes_can_be_a_meta(servers: Servers, meta: bytes) -> None:
    await make_job(servers.first, meta=meta)
    assert (await reserve(servers.second)).record.meta == meta


# ------------------------------------------------------------------------------------------------------------- advance


async def test_the_first_record_of_a_run_knows_the_highest_generation_that_was_begun(servers: Servers) -> None:
    before = await make_job(servers.first)
    servers.clock.advance(1)
    for generation in (1, 3, 2):
        await servers.second.advance("k", generation)
    assert await servers.first.find("k") == replace(before, latest=3, changed=servers.clock.now)


async def test_a_generation_that_is_begun_again_keeps_the_first_record_alive(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.advance("k", 1)
    servers.clock.advance(LONG)
    await servers.second.advance("k", 1)
    assert await servers.first.expire(older_than=LONG) == 0


# ------------------------------------------------------------------------------------------------------------ remember


async def test_a_job_that_was_made_without_the_store_is_written_down_as_done(servers: Servers) -> None:
    now = servers.clock.now
    done = replace(
        UNTOLD,
        state=State.DONE,
        run="k",
        job=job_of("bigquery", 1, b"job"),
        created=now,
        changed=now,
        done_at=now,
    )
    assert await servers.first.remember(UNTOLD) == done
    assert await servers.second.find("k") == done


async def test_a_job_of_a_later_generation_is_written_down_as_that_of_its_run(store: Store) -> None:
    stands = await store.remember(replace(UNTOLD, run="k0", generation=2))
    assert (stands.run, stands.generation) == ("k0", 2)


async def test_a_remembered_job_ends_a_create_that_had_not_ended_and_keeps_what_described_it(servers: Servers) -> None:
    reserved = (await reserve(servers.first, "reserved", lease=LONG)).record
    unknown = await make_unknown(servers.first, "unknown")
    servers.clock.advance(1)
    now = servers.clock.now
    for before in (reserved, unknown):
        done = replace(
            before,
            state=State.DONE,
            meta=b"job",
            job=job_of("bigquery", 1, b"job"),
            lease_until=0.0,
            done_at=now,
            changed=now,
        )
        other = replace(UNTOLD, key=before.key, task_type="other", fingerprint="other", subject={}, owner="b")
        assert await servers.second.remember(other) == done
        assert await servers.first.find(before.key) == done
    assert await servers.first.complete("reserved", owner="a", meta=b"job")
    assert not await servers.first.complete("reserved", owner="a", meta=b"another")


async def test_a_remembered_jobs_fingerprint_is_written_where_there_is_none(store: Store) -> None:
    await store.reserve("k", owner="a", lease=LEASE, task_type="t")
    assert (await store.remember(UNTOLD)).fingerprint == "f"


async def test_what_is_done_or_taken_stays_as_it_is_whatever_is_remembered(servers: Servers) -> None:
    done = await make_job(servers.first, "done", b"first")
    await reserve(servers.first, "taken")
    await servers.first.mark_taken("taken", owner="a")
    taken = await found(servers.first, "taken")
    servers.clock.advance(1)
    for before in (done, taken):
        assert await servers.second.remember(replace(UNTOLD, key=before.key)) == before
        assert await servers.first.find(before.key) == before


@pytest.mark.parametrize("reserved", [True, False])
async def test_a_remembered_job_says_whose_it_was_at_first(store: Store, reserved: bool) -> None:
    if reserved:
        await reserve(store)
    assert (await store.remember(replace(UNTOLD, adopts="k0"))).adopts == "k0"
    assert (await found(store)).adopts == "k0"


async def test_a_job_that_is_remembered_without_a_meta_has_an_empty_one(store: Store) -> None:
    assert (await store.remember(replace(UNTOLD, meta=None))).meta == b""
