"""What every store does, whatever it is made of: what becomes of a job once it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from connectors._stores import Attention, Deletion, Delivery, Record, State, Store, job_of
from connectors._stores.rules import POLL_GRAIN
from tests.stores.conftest import Clock, Servers
from tests.stores.steps import LEASE, LONG, SUBJECT, found, make_job, make_unknown, put, reserve

pytestmark = pytest.mark.anyio

UNHEARD = Record("k", "bigquery", version=1, meta=b"job", subject=SUBJECT)
"""A job that the store never heard of."""


# ----------------------------------------------------------------------------------------------------------------- note


@pytest.mark.parametrize(("delivered", "delivery"), [(True, Delivery.DELIVERED), (False, Delivery.LOST)])
async def test_it_is_written_down_whether_the_answer_was_delivered(
    servers: Servers, delivered: bool, delivery: Delivery
) -> None:
    before = await make_job(servers.first)
    servers.clock.advance(1)
    after = replace(before, delivery=delivery, changed=servers.clock.now)
    assert await servers.second.note("k", delivered=delivered) == after
    assert await servers.first.find("k") == after


async def test_a_poll_is_written_down_and_proves_that_the_meta_was_delivered(servers: Servers) -> None:
    before = await make_job(servers.first)
    servers.clock.advance(1)
    now = servers.clock.now
    after = replace(before, delivery=Delivery.DELIVERED, asked_at=now, polled_at=now, changed=now)
    assert await servers.second.note("k", polled=True) == after
    assert await servers.first.find("k") == after


async def test_a_terminal_phase_is_written_down_with_its_time(servers: Servers) -> None:
    before = await make_job(servers.first)
    servers.clock.advance(1)
    now = servers.clock.now
    after = replace(before, terminal="SUCCEEDED", terminal_at=now, changed=now)
    assert await servers.second.note("k", terminal="SUCCEEDED") == after
    assert await servers.first.find("k") == after


async def test_one_note_may_say_all(store: Store, clock: Clock) -> None:
    before = await make_job(store)
    now = clock.now
    after = replace(
        before, delivery=Delivery.DELIVERED, asked_at=now, polled_at=now, terminal="FAILED", terminal_at=now
    )
    assert await store.note("k", delivered=False, polled=True, terminal="FAILED") == after


@pytest.mark.parametrize("polled", [True, False])
async def test_what_was_lost_can_still_arrive(store: Store, polled: bool) -> None:
    await make_job(store)
    await store.note("k", delivered=False)
    record = await store.note("k", delivered=not polled, polled=polled)
    assert record is not None
    assert record.delivery is Delivery.DELIVERED


@pytest.mark.parametrize("polled", [True, False])
async def test_what_was_delivered_is_not_lost_again(servers: Servers, polled: bool) -> None:
    await make_job(servers.first)
    stands = await servers.first.note("k", delivered=not polled, polled=polled)
    servers.clock.advance(1)
    assert await servers.second.note("k", delivered=False) == stands
    assert await servers.first.find("k") == stands


async def test_the_first_terminal_phase_stands(servers: Servers) -> None:
    await make_job(servers.first)
    stands = await servers.first.note("k", terminal="SUCCEEDED")
    servers.clock.advance(1)
    assert await servers.second.note("k", terminal="FAILED") == stands
    assert await servers.first.find("k") == stands


async def test_what_is_known_already_is_not_written_again(servers: Servers) -> None:
    await make_job(servers.first)
    stands = await servers.first.note("k", delivered=True, polled=True, terminal="SUCCEEDED")
    servers.clock.advance(POLL_GRAIN - 1)
    for again in (
        servers.second.note("k", delivered=True, polled=True, terminal="SUCCEEDED"),
        servers.second.note("k", delivered=True),
        servers.second.note("k", polled=True),
        servers.second.note("k", terminal="SUCCEEDED"),
        servers.second.note("k"),
    ):
        assert await again == stands
    assert await servers.first.find("k") == stands


async def test_a_later_poll_is_written_down_to_the_half_hour_and_the_first_is_remembered(servers: Servers) -> None:
    await make_job(servers.first)
    first = await servers.first.note("k", polled=True)
    assert first is not None
    servers.clock.advance(POLL_GRAIN)
    now = servers.clock.now
    after = replace(first, polled_at=now, changed=now)
    assert await servers.second.note("k", polled=True) == after
    assert await servers.first.find("k") == after


async def test_the_first_poll_is_written_down_also_on_a_clock_that_has_only_begun(servers: Servers) -> None:
    servers.clock.now = 5.0
    await make_job(servers.first)
    record = await servers.second.note("k", polled=True)
    assert record is not None
    assert (record.asked_at, record.polled_at) == (5.0, 5.0)


async def test_a_jobs_record_keeps_the_first_record_of_its_run_alive(servers: Servers) -> None:
    await make_job(servers.first, "k0")
    await servers.first.reserve("k2", owner="a", lease=LEASE, task_type="t", run="k0", generation=2, subject=SUBJECT)
    await servers.first.complete("k2", owner="a", meta=b"job")
    servers.clock.advance(LONG)
    await servers.second.note("k2", polled=True)
    first = await found(servers.first, "k0")
    assert (first.latest, first.changed) == (2, servers.clock.now)
    assert await servers.first.expire(older_than=LONG) == 0


async def test_a_note_of_nothing_new_leaves_the_first_record_of_the_run_alone(servers: Servers) -> None:
    await make_job(servers.first, "k0")
    await servers.first.reserve("k2", owner="a", lease=LEASE, task_type="t", run="k0", generation=2, subject=SUBJECT)
    await servers.first.complete("k2", owner="a", meta=b"job")
    await servers.second.note("k2", polled=True)
    before = await found(servers.first, "k0")
    servers.clock.advance(1)
    await servers.second.note("k2", polled=True)
    assert await servers.first.find("k0") == before


# ------------------------------------------------------------------------------------------------------------ deletions


async def test_a_deletion_that_is_wanted_is_remembered_and_due_at_once(servers: Servers) -> None:
    before = await make_job(servers.first)
    servers.clock.advance(1)
    now = servers.clock.now
    wanted = replace(before, deletion=Deletion.WANTED, delete_at=now, reason="aborted", changed=now)
    assert await servers.second.want_deletion("k", reason="aborted") == wanted
    assert await servers.first.find("k") == wanted
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == [wanted]


@pytest.mark.parametrize("made", [reserve, make_unknown])
async def test_a_deletion_that_is_wanted_before_there_is_a_job_is_remembered_and_claimed_by_nobody(
    servers: Servers, made: Callable[[Store], Awaitable[object]]
) -> None:
    await made(servers.first)
    before = await found(servers.first)
    servers.clock.advance(1)
    now = servers.clock.now
    wanted = replace(before, deletion=Deletion.WANTED, delete_at=now, reason="aborted", changed=now)
    assert await servers.second.want_deletion("k", reason="aborted", still=Attention.UNKNOWN) == wanted
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == []
    assert await servers.first.waiting(Attention.UNKNOWN, older_than=0) == [wanted]
    assert await servers.second.claim_deletion("k", hold=LEASE) is None
    assert await servers.first.find("k") == wanted


async def test_a_deletion_that_is_wanted_again_stays_as_it_is(servers: Servers) -> None:
    await make_job(servers.first)
    wanted = await servers.first.want_deletion("k", reason="aborted")
    servers.clock.advance(1)
    assert await servers.second.want_deletion("k", reason="orphan", job=UNHEARD) == wanted
    assert await servers.first.find("k") == wanted


@pytest.mark.parametrize("aside", [True, False])
async def test_a_deletion_that_was_carried_out_is_not_wanted_again(servers: Servers, aside: bool) -> None:
    await make_job(servers.first)
    if aside:
        await servers.first.set_aside("k", reason="reported")
    await servers.first.note_deleted("k")
    done = await found(servers.first)
    servers.clock.advance(1)
    assert await servers.second.want_deletion("k", reason="aborted") == done
    assert await servers.first.find("k") == done
    assert await servers.second.claim_deletion("k", hold=LEASE) is None


async def test_a_job_that_the_store_never_heard_of_is_written_down_to_be_cancelled(servers: Servers) -> None:
    now = servers.clock.now
    wanted = replace(
        UNHEARD,
        state=State.DONE,
        run="k",
        job=job_of("bigquery", 1, b"job"),
        tracked=True,
        created=now,
        changed=now,
        done_at=now,
        deletion=Deletion.WANTED,
        delete_at=now,
        reason="aborted",
    )
    assert await servers.first.want_deletion("k", reason="aborted", job=UNHEARD) == wanted
    assert await servers.second.find("k") == wanted
    assert await servers.second.find_job(wanted.job) == wanted
    assert await servers.second.waiting(Attention.DELETE, older_than=0) == [wanted]


async def test_a_job_that_the_store_never_heard_of_is_found_by_what_polls_will_come_with(store: Store) -> None:
    await store.want_deletion("k", reason="aborted", job=replace(UNHEARD, job="what polls lead to"))
    assert await store.find_job("what polls lead to") == await found(store)
    assert await store.find_job(job_of("bigquery", 1, b"job")) is None


async def test_where_the_key_has_a_record_that_is_the_one_to_be_cancelled(store: Store) -> None:
    before = await make_job(store, meta=b"first")
    wanted = await store.want_deletion("k", reason="aborted", job=UNHEARD)
    assert wanted == replace(before, deletion=Deletion.WANTED, delete_at=before.changed, reason="aborted")


async def test_a_deletion_that_is_due_is_claimed_by_one_server_at_a_time(servers: Servers) -> None:
    await make_job(servers.first)
    wanted = await servers.first.want_deletion("k", reason="aborted")
    assert wanted is not None
    servers.clock.advance(1)
    now = servers.clock.now
    held = replace(wanted, delete_at=now + 60, delete_tries=1, changed=now)
    assert await servers.first.claim_deletion("k", hold=60) == held
    assert await servers.second.find("k") == held
    servers.clock.advance(59)
    assert await servers.second.claim_deletion("k", hold=60) is None
    assert await servers.second.find("k") == held
    assert await servers.second.waiting(Attention.DELETE, older_than=0) == []
    servers.clock.advance(1)
    assert await servers.second.waiting(Attention.DELETE, older_than=0) == [held]
    again = await servers.second.claim_deletion("k", hold=60)
    assert again is not None
    assert (again.delete_tries, again.delete_at) == (2, servers.clock.now + 60)


async def test_a_deletion_that_nobody_wants_is_not_claimed(store: Store) -> None:
    before = await make_job(store)
    assert await store.claim_deletion("k", hold=LEASE) is None
    assert await store.find("k") == before


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_job_that_was_cancelled_is_over_whether_or_not_that_was_wanted(servers: Servers, wanted: bool) -> None:
    before = await make_job(servers.first)
    if wanted:
        before = replace(before, reason="aborted")
        await servers.first.want_deletion("k", reason="aborted")
    servers.clock.advance(1)
    await servers.second.note_deleted("k")
    done = replace(before, deletion=Deletion.DONE, changed=servers.clock.now)
    assert await servers.first.find("k") == done
    assert done.attention() is Attention.NONE
    for attention in Attention:
        assert attention is Attention.NONE or await servers.first.waiting(attention, older_than=0) == []


async def test_that_a_job_was_cancelled_is_written_down_once(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note_deleted("k")
    done = await found(servers.first)
    servers.clock.advance(1)
    await servers.second.note_deleted("k")
    assert await servers.first.find("k") == done


# ---------------------------------------------------------------------------------------------------- set aside, forget


async def test_a_record_that_is_set_aside_is_not_judged_any_more_and_still_found(servers: Servers) -> None:
    before = await make_job(servers.first)
    await servers.first.note("k", delivered=False)
    servers.clock.advance(1)
    assert await servers.second.set_aside("k", reason="reported")
    aside = replace(before, delivery=Delivery.LOST, set_aside=True, reason="reported", changed=servers.clock.now)
    assert await servers.first.find("k") == aside
    assert aside.attention() is Attention.NONE
    assert await servers.first.waiting(Attention.LOST, older_than=0) == []
    assert await servers.first.waiting(Attention.IDLE, older_than=0) == []
    assert await servers.first.find_job(before.job) == aside


async def test_a_job_that_another_attempt_took_over_leads_to_that_attempt_alone(servers: Servers) -> None:
    before = await make_job(servers.first, "k1")
    await servers.first.remember(replace(before, key="k2", run="k2"))
    servers.clock.advance(1)
    assert await servers.second.set_aside("k1", reason="adopted", adopted_by="k2")
    aside = await found(servers.first, "k1")
    assert (aside.adopted_by, aside.set_aside, aside.attention()) == ("k2", True, Attention.NONE)
    assert await servers.first.find_job(before.job) == await found(servers.first, "k2")


async def test_who_took_a_job_over_is_not_forgotten_when_it_is_set_aside_again(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.set_aside("k", reason="adopted", adopted_by="k2")
    await servers.second.set_aside("k", reason="reported")
    record = await found(servers.first)
    assert (record.adopted_by, record.reason) == ("k2", "reported")


async def test_a_deletion_that_was_given_up_is_neither_due_nor_claimed_and_can_be_begun_again(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    await servers.first.claim_deletion("k", hold=60)
    servers.clock.advance(60)
    assert await servers.second.set_aside("k", reason="given up", still=Attention.DELETE)
    given_up = await found(servers.first)
    assert (given_up.deletion, given_up.attention()) == (Deletion.WANTED, Attention.NONE)
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == []
    assert await servers.first.claim_deletion("k", hold=60) is None
    servers.clock.advance(1)
    now = servers.clock.now
    again = replace(given_up, delete_at=now, delete_tries=0, reason="a person", set_aside=False, changed=now)
    assert await servers.second.want_deletion("k", reason="a person") == again
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == [again]


async def test_a_record_is_judged_only_while_it_still_waits_for_what_it_was_found_by(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", delivered=False)
    (lost,) = await servers.first.waiting(Attention.LOST, older_than=0)
    polled = await servers.second.note("k", polled=True)
    assert await servers.first.want_deletion("k", reason="orphan", still=lost.attention()) == polled
    assert not await servers.first.set_aside("k", reason="reported", still=lost.attention())
    assert await servers.first.find("k") == polled
    wanted = await servers.first.want_deletion("k", reason="orphan", still=Attention.IDLE)
    assert wanted is not None
    assert wanted.deletion is Deletion.WANTED
    assert not await servers.first.set_aside("k", reason="reported", still=Attention.IDLE)
    assert await servers.first.set_aside("k", reason="given up", still=Attention.DELETE)


async def test_a_job_that_has_no_record_waits_for_nothing_that_it_could_be_judged_by(store: Store) -> None:
    assert await store.want_deletion("k", reason="orphan", job=UNHEARD, still=Attention.LOST) is None
    assert not await store.set_aside("k", reason="reported", still=Attention.NONE)
    assert await store.find("k") is None


async def test_a_record_that_was_set_aside_can_still_be_cancelled(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.set_aside("k", reason="reported")
    await servers.first.want_deletion("k", reason="a person")
    assert [record.key for record in await servers.second.waiting(Attention.DELETE, older_than=0)] == ["k"]


@pytest.mark.parametrize("made", [make_job, make_unknown])
async def test_a_forgotten_record_is_gone_whatever_it_said(
    servers: Servers, made: Callable[[Store], Awaitable[Record]]
) -> None:
    record = await made(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    assert await servers.second.forget("k")
    assert not await servers.second.forget("k")
    assert await servers.first.find("k") is None
    assert await servers.first.find_job(record.job) is None
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == []
    assert [each async for each in servers.first.records()] == []


async def test_a_record_under_a_running_lease_is_forgotten_too(servers: Servers) -> None:
    await reserve(servers.first, lease=LONG)
    assert await servers.second.forget("k")
    assert not await servers.first.complete("k", owner="a", meta=b"job")
    claim = await reserve(servers.second, owner="b")
    assert (claim.mine, claim.looked_for) == (True, False)


async def test_a_record_of_another_release_that_names_no_run_is_noted_like_any_other(servers: Servers) -> None:
    await put(servers.first, Record("k", "t", State.DONE, tracked=True, meta=b"job", job="j"))
    assert await servers.second.note("k", polled=True) == await servers.first.find_job("j")
