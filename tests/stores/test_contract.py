"""What every store does, whatever it is made of: a create, from the reservation to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from connectors._stores import Attention, Claim, Deletion, Delivery, Record, State, Store, job_of
from connectors._stores.rules import CLAIMED
from tests.stores.conftest import Clock, Servers
from tests.stores.steps import LEASE, LONG, SUBJECT, found, make_job, make_unknown, put, reserve, state

pytestmark = pytest.mark.anyio

END = 600.0
"""Seconds after a terminal phase was delivered, from which on the tests' records are over."""


async def replay(store: Store, over_after: float | None = END) -> Claim:
    return await store.reserve("k", owner="b", lease=LEASE, task_type="bigquery", over_after=over_after)


# ------------------------------------------------------------------------------------------------------------- reserve


async def test_a_new_key_is_granted_and_no_job_is_suspected(servers: Servers) -> None:
    claim = await servers.first.reserve(
        "k",
        owner="a",
        lease=LEASE,
        task_type="bigquery",
        version=3,
        run="k0",
        generation=2,
        fingerprint="f",
        subject=SUBJECT,
    )
    now = servers.clock.now
    assert claim == Claim(
        Record(
            "k",
            "bigquery",
            State.RESERVED,
            "f",
            version=3,
            run="k0",
            generation=2,
            owner="a",
            lease_until=now + LEASE,
            tracked=True,
            subject=SUBJECT,
            created=now,
            changed=now,
        ),
        mine=True,
        looked_for=False,
        over=False,
    )
    assert await servers.second.find("k") == claim.record


async def test_a_key_that_is_only_a_lock_is_a_run_of_its_own_and_nobodys_job(store: Store) -> None:
    await store.reserve("k", owner="a", lease=LEASE, task_type="t")
    assert await store.complete("k", owner="a", meta=b"answer")
    record = await found(store)
    assert (record.run, record.generation, record.tracked, record.subject) == ("k", 0, False, {})
    assert (record.job, record.is_over) == ("", True)


async def test_a_subject_makes_a_record_tracked_though_it_be_empty(store: Store) -> None:
    claim = await store.reserve("k", owner="a", lease=LEASE, task_type="t", subject={})
    assert claim.record.tracked


async def test_a_key_under_another_owners_lease_is_refused_and_stays_as_it_is(servers: Servers) -> None:
    mine = await reserve(servers.first, owner="a")
    servers.clock.advance(LEASE - 1)
    assert await reserve(servers.second, owner="b") == Claim(mine.record, mine=False)
    assert await servers.first.find("k") == mine.record


async def test_from_the_instant_its_lease_runs_out_another_owner_gets_the_key_and_looks_for_the_job(
    servers: Servers,
) -> None:
    before = await reserve(servers.first, owner="a")
    servers.clock.advance(LEASE)
    claim = await reserve(servers.second, owner="b")
    now = servers.clock.now
    taken = replace(before.record, owner="b", lease_until=now + LEASE, changed=now)
    assert claim == Claim(taken, mine=True, looked_for=True)
    assert await servers.first.find("k") == taken


async def test_a_key_whose_create_is_unknown_is_granted_at_once_and_the_job_is_looked_for(servers: Servers) -> None:
    before = await make_unknown(servers.first)
    claim = await reserve(servers.second, owner="b")
    until = servers.clock.now + LEASE
    reserved = replace(before, state=State.RESERVED, owner="b", lease_until=until)
    assert claim == Claim(reserved, mine=True, looked_for=True)


async def test_a_done_key_answers_its_meta_and_is_granted_to_nobody(servers: Servers) -> None:
    record = await make_job(servers.first)
    servers.clock.advance(LONG)
    for owner in ("a", "b"):
        assert await reserve(servers.second, owner=owner) == Claim(record, mine=False)
    assert await servers.first.find("k") == record


async def test_an_owner_that_reserves_again_keeps_the_key_and_renews_the_lease(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    servers.clock.advance(LEASE - 1)
    claim = await reserve(servers.first, owner="a")
    assert (claim.mine, claim.looked_for) == (True, True)
    servers.clock.advance(LEASE - 1)
    assert not (await reserve(servers.second, owner="b")).mine
    servers.clock.advance(1)
    assert (await reserve(servers.second, owner="b")).mine


async def test_what_describes_a_key_stays_as_it_was_when_the_key_was_new(servers: Servers) -> None:
    before = await make_unknown(servers.first)
    claim = await servers.second.reserve(
        "k",
        owner="b",
        lease=LEASE,
        task_type="other",
        version=9,
        run="other",
        generation=9,
        fingerprint="other",
        subject={"other": "other"},
    )
    until = servers.clock.now + LEASE
    assert claim.record == replace(before, state=State.RESERVED, owner="b", lease_until=until)


async def test_a_lock_does_not_become_a_job_by_a_later_subject(store: Store) -> None:
    await store.reserve("k", owner="a", lease=LEASE, task_type="t")
    await store.mark_unknown("k", owner="a")
    claim = await store.reserve("k", owner="b", lease=LEASE, task_type="t", subject=SUBJECT)
    assert (claim.record.tracked, claim.record.subject) == (False, {})


@pytest.mark.parametrize(
    "text", ["", "a\x00b", "\x00", 'quo"te\\', "snow ❄ and 🛷", "\u2028\ufeff\x1f\x7f", "%s {}' :x"]
)
async def test_any_text_can_be_a_key_and_describe_it(servers: Servers, text: str) -> None:
    await servers.first.reserve(
        text, owner=text, lease=LONG, task_type=text, run=text, fingerprint=text, subject={text: text}
    )
    await servers.first.complete(text, owner=text, meta=b"job")
    record = await found(servers.second, text)
    assert (record.key, record.task_type, record.owner, record.run, record.fingerprint) == (text,) * 5
    assert record.subject == {text: text}
    assert record == await servers.first.find_job(job_of(text, 0, b"job"))
    assert await servers.second.set_aside(text, reason=text, adopted_by=text)
    assert (await found(servers.first, text)).adopted_by == text
    assert await servers.first.forget(text)


async def test_keys_that_differ_little_are_different(store: Store) -> None:
    for key in ("k", "K", "k ", " k", "k\n", "ḱ", "k\u0301", "k\x00", "k\x00a", "k\x00b", "k\x1a0", "k\\0", "k%00"):
        assert (await reserve(store, key)) == Claim(await found(store, key), mine=True)
        assert await store.load(key, "request") is None
        await store.save(key, "request", b"bytes", ttl=LONG)


async def test_a_cancelled_caller_leaves_the_store_usable(servers: Servers) -> None:
    tasks = [asyncio.ensure_future(reserve(servers.first, f"k{n}", lease=LONG)) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    claims = await asyncio.gather(*(reserve(servers.first, f"k{n}", lease=LONG) for n in range(50)))
    assert [(claim.mine, claim.record.key) for claim in claims] == [(True, f"k{n}") for n in range(50)]


# ---------------------------------------------------------------------------------------------------------------- over


async def test_a_run_is_over_from_the_given_time_after_a_terminal_phase_was_delivered(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", terminal="SUCCEEDED")
    servers.clock.advance(END - 1)
    early = await replay(servers.second)
    assert (early.mine, early.over) == (False, False)
    servers.clock.advance(1)
    late = await replay(servers.second)
    assert (late.mine, late.looked_for, late.over, late.record.meta) == (False, False, True, b"job")


async def test_a_job_that_goes_on_is_never_over(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", delivered=True, polled=True)
    servers.clock.advance(1_000 * END)
    assert not (await replay(servers.second, over_after=0.0)).over


async def test_a_run_is_over_when_its_jobs_deletion_is_wanted_and_when_it_is_done(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    wanted = await replay(servers.second)
    await servers.first.note_deleted("k")
    done = await replay(servers.second)
    assert [(claim.mine, claim.over) for claim in (wanted, done)] == [(False, True)] * 2


async def test_a_create_whose_job_is_to_be_cancelled_is_granted_so_that_its_job_is_found(servers: Servers) -> None:
    await make_unknown(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    claim = await replay(servers.second)
    assert (claim.mine, claim.looked_for, claim.over) == (True, True, False)
    await servers.second.complete("k", owner="b", meta=b"job")
    assert (await replay(servers.first)).over


async def test_a_taken_key_is_over_whether_or_not_anything_else_makes_it_so(servers: Servers) -> None:
    await reserve(servers.first)
    assert await servers.first.mark_taken("k", owner="a")
    for over_after in (END, None):
        claim = await replay(servers.second, over_after)
        assert (claim.mine, claim.looked_for, claim.over, claim.record.state) == (False, False, True, State.TAKEN)


async def test_without_a_time_nothing_but_taken_makes_a_run_over(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", terminal="SUCCEEDED")
    await servers.first.want_deletion("k", reason="aborted")
    await servers.first.note_deleted("k")
    servers.clock.advance(1_000 * END)
    claim = await replay(servers.second, None)
    assert (claim.mine, claim.over, claim.record.meta) == (False, False, b"job")


async def test_the_first_record_of_a_run_lives_on_when_it_is_found_over(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", terminal="SUCCEEDED")
    servers.clock.advance(END)
    claim = await replay(servers.second)
    assert claim.record.changed == servers.clock.now
    assert await servers.first.expire(older_than=END) == 0


# --------------------------------------------------------------------------------------------------------------- renew


async def test_a_renewed_lease_runs_from_the_renewal(servers: Servers) -> None:
    await reserve(servers.first, owner="a")
    servers.clock.advance(LEASE - 1)
    assert await servers.first.renew("k", owner="a", lease=LEASE)
    servers.clock.advance(LEASE - 1)
    assert not (await reserve(servers.second, owner="b")).mine
    servers.clock.advance(1)
    assert (await reserve(servers.second, owner="b")).mine


async def test_a_renewal_may_shorten_the_lease(servers: Servers) -> None:
    await reserve(servers.first, owner="a", lease=LONG)
    assert await servers.first.renew("k", owner="a", lease=1.0)
    servers.clock.advance(1)
    assert (await reserve(servers.second, owner="b")).mine


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
        await servers.second.remember(FOUND)
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

FOUND = Record(
    "k", "bigquery", fingerprint="f", version=1, meta=b"job", tracked=True, subject=SUBJECT, delivery=Delivery.LOST
)


async def test_a_job_that_was_made_without_the_store_is_written_down_as_done(servers: Servers) -> None:
    now = servers.clock.now
    done = replace(
        FOUND,
        state=State.DONE,
        run="k",
        job=job_of("bigquery", 1, b"job"),
        created=now,
        changed=now,
        done_at=now,
    )
    assert await servers.first.remember(FOUND) == done
    assert await servers.second.find("k") == done


async def test_a_job_of_a_later_generation_is_written_down_as_that_of_its_run(store: Store) -> None:
    stands = await store.remember(replace(FOUND, run="k0", generation=2))
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
        other = replace(FOUND, key=before.key, task_type="other", fingerprint="other", subject={}, owner="b")
        assert await servers.second.remember(other) == done
        assert await servers.first.find(before.key) == done
    assert await servers.first.complete("reserved", owner="a", meta=b"job")
    assert not await servers.first.complete("reserved", owner="a", meta=b"another")


async def test_a_remembered_jobs_fingerprint_is_written_where_there_is_none(store: Store) -> None:
    await store.reserve("k", owner="a", lease=LEASE, task_type="t")
    assert (await store.remember(FOUND)).fingerprint == "f"


async def test_what_is_done_or_taken_stays_as_it_is_whatever_is_remembered(servers: Servers) -> None:
    done = await make_job(servers.first, "done", b"first")
    await reserve(servers.first, "taken")
    await servers.first.mark_taken("taken", owner="a")
    taken = await found(servers.first, "taken")
    servers.clock.advance(1)
    for before in (done, taken):
        assert await servers.second.remember(replace(FOUND, key=before.key)) == before
        assert await servers.first.find(before.key) == before


@pytest.mark.parametrize("reserved", [True, False])
async def test_a_remembered_job_says_whose_it_was_at_first(store: Store, reserved: bool) -> None:
    if reserved:
        await reserve(store)
    assert (await store.remember(replace(FOUND, adopts="k0"))).adopts == "k0"
    assert (await found(store)).adopts == "k0"


async def test_a_job_that_is_remembered_without_a_meta_has_an_empty_one(store: Store) -> None:
    assert (await store.remember(replace(FOUND, meta=None))).meta == b""


# ------------------------------------------------------------------------------------------------------ newer releases

NEWER = {"priority": 3, "more": {"nested": [1, None, "x"]}}


async def test_what_a_newer_release_wrote_survives_every_step_of_a_create(servers: Servers) -> None:
    store = servers.first
    at = servers.clock.now
    for key in ("k", "unknown", "taken"):
        await put(store, Record(key, "t", owner="a", lease_until=at + LEASE, created=at, changed=at, more=NEWER))
    assert await store.renew("k", owner="a", lease=1.0)
    servers.clock.advance(1)
    assert (await reserve(servers.second, owner="b")).record.more == NEWER
    assert await store.complete("k", owner="b", meta=b"job")
    await store.advance("k", 1)
    assert await store.mark_unknown("unknown", owner="a")
    assert (await store.remember(replace(FOUND, key="unknown", more={"another": 1}))).more == NEWER
    assert await store.mark_taken("taken", owner="a")
    assert (await replay(store)).record.more == NEWER
    for key in ("k", "unknown", "taken"):
        assert (await found(servers.second, key)).more == NEWER


async def test_what_a_newer_release_wrote_survives_everything_that_becomes_of_a_job(servers: Servers) -> None:
    assert (await servers.first.remember(replace(FOUND, more=NEWER))).more == NEWER
    for change in (
        servers.second.note("k", delivered=True, polled=True, terminal="FAILED"),
        servers.second.want_deletion("k", reason="aborted"),
        servers.second.claim_deletion("k", hold=LEASE),
        servers.second.set_aside("k", reason="reported", adopted_by="k2"),
        servers.second.note_deleted("k"),
    ):
        before = await found(servers.first)
        await change
        after = await found(servers.first)
        assert after != before
        assert after.more == NEWER
    assert (await found(servers.first)).deletion is Deletion.DONE
    assert [record.more async for record in servers.first.records()] == [NEWER]
    assert await state(servers.first) is State.DONE
