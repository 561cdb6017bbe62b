"""What every store does, whatever it is made of: a key is reserved, and its lease renewed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from connectors._stores import Attention, Claim, Record, State, Store, job_of
from tests.stores.conftest import Servers
from tests.stores.steps import END, LEASE, LONG, SUBJECT, found, make_job, make_unknown, replay, reserve

pytestmark = pytest.mark.anyio


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
    assert (record.job, record.attention()) == ("", Attention.NONE)


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
