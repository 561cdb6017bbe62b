"""What every store does, whatever it is made of: a job that is asked for again, or that a later attempt takes over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from connectors._stores import Attention, Claim, Deletion, Delivery, Record, Store
from connectors._stores.rules import CLAIMED, POLL_GRAIN
from tests.stores.conftest import Servers
from tests.stores.steps import LEASE, found, make_job, make_unknown, put, reserve

pytestmark = pytest.mark.anyio


# ------------------------------------------------------------------------------------------------------ asked for again


async def test_an_answer_that_reached_nobody_may_reach_whoever_asks_for_it_again(servers: Servers) -> None:
    await make_job(servers.first)
    lost = await servers.first.note("k", delivered=False)
    assert lost is not None
    servers.clock.advance(1)
    claim = await reserve(servers.second, owner="b")
    assert claim == Claim(replace(lost, delivery=Delivery.NOT_KNOWN, changed=servers.clock.now), mine=False)
    assert await servers.first.find("k") == claim.record
    assert await servers.first.waiting(Attention.LOST, older_than=0) == []


async def test_an_answer_that_was_asked_for_again_can_be_lost_again_and_waits_from_then(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", delivered=False)
    asked = (await reserve(servers.second, owner="b")).record
    servers.clock.advance(60)
    assert (await reserve(servers.second, owner="c")).record == asked
    lost = await servers.first.note("k", delivered=False)
    assert lost == replace(asked, delivery=Delivery.LOST, changed=servers.clock.now)
    assert await servers.first.waiting(Attention.LOST, older_than=1) == []
    assert await servers.first.waiting(Attention.LOST, older_than=0) == [lost]


async def test_a_lost_answer_whose_job_was_polled_is_not_in_doubt(servers: Servers) -> None:
    job = await make_job(servers.first)
    polled = replace(job, delivery=Delivery.LOST, asked_at=servers.clock.now)
    await put(servers.first, polled)
    servers.clock.advance(1)
    assert await reserve(servers.second, owner="b") == Claim(polled, mine=False)


async def test_that_an_answer_was_delivered_is_not_taken_back(servers: Servers) -> None:
    await make_job(servers.first)
    delivered = await servers.first.note("k", delivered=True)
    servers.clock.advance(1)
    assert (await reserve(servers.second, owner="b")).record == delivered


async def reported(store: Store, reason: str = "not polled", adopted_by: str = "") -> Record:
    assert await store.set_aside("k", reason=reason, adopted_by=adopted_by)
    return await found(store)


@pytest.mark.parametrize("made", [reserve, make_unknown])
async def test_whoever_reserves_a_key_takes_back_that_it_was_reported(
    servers: Servers, made: Callable[[Store], Awaitable[object]]
) -> None:
    await made(servers.first)
    assert (await reported(servers.first)).attention() is Attention.NONE
    servers.clock.advance(LEASE)
    claim = await reserve(servers.second, owner="b")
    assert (claim.record.set_aside, claim.record.reason) == (False, "")
    assert await servers.first.find("k") == claim.record


async def test_whoever_asks_for_a_lost_answer_again_takes_back_that_the_job_was_reported(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", delivered=False)
    await reported(servers.first)
    await reserve(servers.second, owner="b")
    record = await found(servers.first)
    assert (record.set_aside, record.reason, record.delivery) == (False, "", Delivery.NOT_KNOWN)


async def test_a_report_of_a_job_that_was_not_lost_stands_whoever_asks_again(servers: Servers) -> None:
    await make_job(servers.first)
    before = await reported(servers.first)
    servers.clock.advance(1)
    assert await reserve(servers.second, owner="b") == Claim(before, mine=False)


async def test_what_was_deleted_under_a_key_says_nothing_of_the_job_that_is_made_under_it_now(servers: Servers) -> None:
    await make_unknown(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    await servers.first.note_deleted("k")
    await reserve(servers.second, owner="b")
    await servers.second.complete("k", owner="b", meta=b"job")
    record = await found(servers.first)
    assert (record.deletion, record.set_aside, record.reason) == (Deletion.NONE, False, "")
    assert record.attention() is Attention.IDLE
    assert await servers.first.want_deletion("k", reason="aborted again")
    assert await servers.second.claim_deletion("k", hold=LEASE) is not None


async def test_that_a_deletion_was_given_up_stands_whoever_asks_again(servers: Servers) -> None:
    await make_unknown(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    before = await reported(servers.first, "given up")
    record = (await reserve(servers.second, owner="b")).record
    assert (record.set_aside, record.reason) == (before.set_aside, before.reason)


@pytest.mark.parametrize("reason", [CLAIMED, f"{CLAIMED}: mine"])
async def test_what_a_person_said_of_a_lost_job_stands_though_its_answer_is_in_doubt(store: Store, reason: str) -> None:
    await make_job(store)
    await store.note("k", delivered=False)
    before = await reported(store, reason)
    assert (await reserve(store, owner="b")).record == replace(before, delivery=Delivery.NOT_KNOWN)


@pytest.mark.parametrize(("reason", "adopted_by"), [(f"{CLAIMED}: mine", ""), ("taken over", "k2")])
async def test_what_a_person_said_and_who_took_a_job_over_stand_whoever_asks_again(
    servers: Servers, reason: str, adopted_by: str
) -> None:
    await make_unknown(servers.first)
    await reported(servers.first, reason, adopted_by)
    record = (await reserve(servers.second, owner="b")).record
    assert (record.set_aside, record.reason, record.adopted_by) == (True, reason, adopted_by)


async def test_a_report_of_a_create_stands_when_its_job_is_done_and_nobody_wants_it_cancelled(store: Store) -> None:
    await reserve(store)
    await reported(store)
    await store.complete("k", owner="a", meta=b"job")
    record = await found(store)
    assert (record.set_aside, record.reason, record.delete_at) == (True, "not polled", 0.0)


async def test_a_poll_takes_back_that_a_job_was_reported(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.note("k", polled=True)
    await servers.first.set_aside("k", reason="not polled")
    servers.clock.advance(POLL_GRAIN)
    record = await servers.second.note("k", polled=True)
    assert record is not None
    assert (record.set_aside, record.reason) == (False, "")
    assert await servers.first.waiting(Attention.IDLE, older_than=0) == [record]


async def test_only_a_poll_that_is_written_down_takes_back_that_a_job_was_reported(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.set_aside("k", reason="unheard")
    for noted in (
        await servers.second.note("k", delivered=False),
        await servers.second.note("k", delivered=True),
        await servers.second.note("k", terminal="SUCCEEDED"),
    ):
        assert noted is not None
        assert (noted.set_aside, noted.reason) == (True, "unheard")
    polled = await servers.second.note("k", polled=True)
    assert polled is not None
    assert (polled.set_aside, polled.reason) == (False, "")
    await servers.first.set_aside("k", reason="not polled")
    before = await found(servers.first)
    servers.clock.advance(POLL_GRAIN - 1)
    assert await servers.second.note("k", polled=True) == before


async def test_a_poll_takes_back_neither_what_a_person_said_nor_a_deletion_nor_another_attempts_claim(
    servers: Servers,
) -> None:
    for key in ("claimed", "wanted", "adopted"):
        await make_job(servers.first, key)
    await servers.first.want_deletion("wanted", reason="aborted")
    before = {"claimed": f"{CLAIMED}: mine", "wanted": "given up", "adopted": "taken over"}
    for key, reason in before.items():
        await servers.first.set_aside(key, reason=reason, adopted_by="k2" if key == "adopted" else "")
    servers.clock.advance(POLL_GRAIN)
    for key, reason in before.items():
        record = await servers.second.note(key, polled=True)
        assert record is not None
        assert (record.set_aside, record.reason) == (True, reason)


# --------------------------------------------------------------------------------------------- jobs that are taken over


async def make_three_attempts_of_one_job(store: Store) -> None:
    """The third took it over from the second, and the second from the first."""
    for key, adopts in (("k0", ""), ("k1", "k0"), ("k2", "k1")):
        await reserve(store, key)
        await store.complete(key, owner="a", meta=b"job", adopts=adopts)
        if adopts:
            await store.set_aside(adopts, reason="taken over", adopted_by=key)


async def test_a_terminal_phase_is_that_of_every_attempt_whose_job_it_was(servers: Servers) -> None:
    await make_three_attempts_of_one_job(servers.first)
    await servers.second.note("k2", polled=True)
    assert [(await found(servers.first, key)).terminal for key in ("k0", "k1", "k2")] == ["", "", ""]
    await servers.second.note("k2", polled=True, terminal="SUCCEEDED")
    records = [await found(servers.first, key) for key in ("k0", "k1", "k2")]
    assert [record.terminal for record in records] == ["SUCCEEDED"] * 3
    assert [bool(record.asked_at) for record in records] == [False, False, True]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_job_that_is_cancelled_is_so_for_every_attempt_whose_job_it_was(servers: Servers, wanted: bool) -> None:
    await make_three_attempts_of_one_job(servers.first)
    if wanted:
        await servers.second.want_deletion("k2", reason="aborted")
    else:
        await servers.second.note_deleted("k2")
    deletions = [(await found(servers.first, key)).deletion for key in ("k0", "k1", "k2")]
    assert deletions == [Deletion.DONE, Deletion.DONE, Deletion.WANTED if wanted else Deletion.DONE]


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_deletion_that_is_wanted_again_makes_good_what_a_server_that_died_left_out(
    servers: Servers, carried_out: bool
) -> None:
    await make_three_attempts_of_one_job(servers.first)
    await servers.first.want_deletion("k2", reason="aborted")
    if carried_out:
        await servers.first.note_deleted("k2")
    first = await found(servers.first, "k0")
    await put(servers.first, replace(first, deletion=Deletion.NONE))
    await servers.second.want_deletion("k2", reason="aborted")
    assert (await found(servers.first, "k0")).deletion is Deletion.DONE


async def test_a_deletion_that_is_not_carried_out_leaves_the_earlier_attempts_alone(servers: Servers) -> None:
    await make_three_attempts_of_one_job(servers.first)
    await servers.second.want_deletion("k2", reason="orphan", still=Attention.LOST)
    assert (await found(servers.first, "k1")).deletion is Deletion.NONE


async def test_what_ends_an_earlier_attempt_does_not_end_the_one_that_took_its_job_over(servers: Servers) -> None:
    await make_three_attempts_of_one_job(servers.first)
    before = await found(servers.first, "k2")
    servers.clock.advance(1)
    await servers.second.note("k1", terminal="FAILED")
    await servers.second.want_deletion("k1", reason="aborted")
    await servers.second.note_deleted("k1")
    assert await servers.first.find("k2") == before


async def test_a_deletion_that_was_wanted_of_an_earlier_attempt_is_left_to_the_later_one(servers: Servers) -> None:
    await make_three_attempts_of_one_job(servers.first)
    await servers.first.want_deletion("k0", reason="aborted")
    later = await servers.second.want_deletion("k2", reason="aborted")
    assert await servers.first.waiting(Attention.DELETE, older_than=0) == [later]


async def test_a_run_is_over_once_the_job_that_a_later_attempt_took_over_has_ended(servers: Servers) -> None:
    await make_three_attempts_of_one_job(servers.first)
    await servers.second.note("k2", terminal="SUCCEEDED")
    servers.clock.advance(LEASE)
    claim = await servers.first.reserve("k0", owner="b", lease=LEASE, task_type="bigquery", over_after=LEASE)
    assert (claim.mine, claim.over) == (False, True)


async def test_an_earlier_attempt_that_was_forgotten_stays_so_whatever_becomes_of_its_job(store: Store) -> None:
    await make_three_attempts_of_one_job(store)
    await store.forget("k1")
    await store.note("k2", terminal="SUCCEEDED")
    await store.want_deletion("k2", reason="aborted")
    assert await store.find("k1") is None
    first = await found(store, "k0")
    assert (first.terminal, first.deletion) == ("", Deletion.NONE)  # what led to it is forgotten
