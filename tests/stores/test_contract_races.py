"""What every store does, whatever it is made of: many callers at once, on two servers, and no change is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors._stores import Attention, Deletion, Delivery, Record, State, Store
from connectors._stores.memory import MemoryStore
from tests.stores.conftest import Clock, Make, Servers
from tests.stores.steps import LEASE, LONG, SUBJECT, found, make_job, make_unknown, reserve

pytestmark = pytest.mark.anyio


def either(servers: Servers, n: int) -> Store:
    return (servers.first, servers.second)[n % 2]


# ------------------------------------------------------------------------------------------------------------- one wins


async def test_of_64_owners_exactly_one_gets_a_new_key_and_the_others_see_who_holds_it(servers: Servers) -> None:
    claims = await asyncio.gather(*(reserve(either(servers, n), owner=f"{n}", lease=LONG) for n in range(64)))
    assert Counter((claim.mine, claim.looked_for) for claim in claims) == {(True, False): 1, (False, False): 63}
    assert {claim.record.owner for claim in claims} == {(await found(servers.first)).owner}


@pytest.mark.parametrize("before", ["abandoned", "unknown"])
async def test_of_64_owners_exactly_one_gets_a_key_that_is_free_again(servers: Servers, before: str) -> None:
    if before == "unknown":
        await make_unknown(servers.first)
    else:
        await reserve(servers.first)
        servers.clock.advance(LEASE)
    claims = await asyncio.gather(*(reserve(either(servers, n), owner=f"{n}", lease=LONG) for n in range(64)))
    assert Counter((claim.mine, claim.looked_for) for claim in claims) == {(True, True): 1, (False, False): 63}


@pytest.mark.parametrize("call", ["renew", "complete", "mark_unknown", "mark_taken", "release"])
async def test_a_server_that_has_not_heard_that_it_lost_a_key_changes_nothing(servers: Servers, call: str) -> None:
    await reserve(servers.first, owner="a")
    servers.clock.advance(LEASE)
    theirs = (await reserve(servers.second, owner="b")).record
    late: dict[str, Callable[[], Awaitable[bool]]] = {
        "renew": lambda: servers.first.renew("k", owner="a", lease=LONG),
        "complete": lambda: servers.first.complete("k", owner="a", meta=b"of a"),
        "mark_unknown": lambda: servers.first.mark_unknown("k", owner="a"),
        "mark_taken": lambda: servers.first.mark_taken("k", owner="a"),
        "release": lambda: servers.first.release("k", owner="a"),
    }
    assert not await late[call]()
    assert await servers.second.find("k") == theirs


async def test_of_32_servers_exactly_one_claims_a_deletion(servers: Servers) -> None:
    await make_job(servers.first)
    await servers.first.want_deletion("k", reason="aborted")
    claims = await asyncio.gather(*(either(servers, n).claim_deletion("k", hold=60) for n in range(32)))
    assert Counter(claim is not None for claim in claims) == {True: 1, False: 31}
    assert (await found(servers.first)).delete_tries == 1


async def test_of_32_who_forget_a_record_exactly_one_did(servers: Servers) -> None:
    await make_job(servers.first)
    assert Counter(await asyncio.gather(*(either(servers, n).forget("k") for n in range(32)))) == {True: 1, False: 31}


async def test_of_different_jobs_remembered_under_a_key_one_stands_for_all(servers: Servers) -> None:
    jobs = [Record("k", "t", tracked=True, meta=b"%d" % n) for n in range(32)]
    stand = await asyncio.gather(*(either(servers, n).remember(job) for n, job in enumerate(jobs)))
    assert {record.meta for record in stand} == {(await found(servers.second)).meta}


async def test_every_thing_that_ran_out_is_forgotten_once_by_servers_that_sweep_together(servers: Servers) -> None:
    for n in range(200):
        await servers.first.save(f"k{n}", "result", b"bytes", ttl=1)
        await make_job(servers.first, f"k{n}")
    servers.clock.advance(60)
    forgotten = 0
    for _ in range(40):
        forgotten += sum(await asyncio.gather(*(either(servers, n).expire(older_than=60, limit=50) for n in range(4))))
    assert forgotten == 400
    assert await servers.first.expire(older_than=60) == 0


# ------------------------------------------------------------------------------------------------------ nothing is lost


async def test_what_64_callers_write_into_one_record_is_all_there(servers: Servers) -> None:
    await make_job(servers.first)
    await asyncio.gather(
        *(either(servers, n).advance("k", n) for n in range(40)),
        *(either(servers, n).note("k", delivered=True) for n in range(6)),
        *(either(servers, n).note("k", polled=True) for n in range(6)),
        *(either(servers, n).note("k", terminal="FAILED") for n in range(6)),
        *(either(servers, n).note_deleted("k") for n in range(3)),
        *(either(servers, n).set_aside("k", reason="adopted", adopted_by="k2") for n in range(3)),
    )
    record = await found(servers.second)
    assert (record.latest, record.delivery, record.terminal) == (39, Delivery.DELIVERED, "FAILED")
    assert (record.asked_at, record.polled_at, record.terminal_at) == (servers.clock.now,) * 3
    assert (record.deletion, record.set_aside, record.adopted_by) == (Deletion.DONE, True, "k2")


async def test_300_keys_reserved_and_completed_at_once_are_all_done(servers: Servers) -> None:
    async def create(key: str, store: Store) -> bool:
        claim = await reserve(store, key, owner=key, lease=LONG)
        return claim.mine and not claim.looked_for and await store.complete(key, owner=key, meta=key.encode())

    keys = [f"k{n}" for n in range(300)]
    assert all(await asyncio.gather(*(create(key, either(servers, n)) for n, key in enumerate(keys))))
    records = await asyncio.gather(*(either(servers, n).find(key) for n, key in enumerate(reversed(keys))))
    assert [record and (record.state, record.meta) for record in records] == [
        (State.DONE, key.encode()) for key in reversed(keys)
    ]
    assert len([record async for record in servers.second.records()]) == 300


async def test_a_record_whose_lease_is_renewed_in_time_is_never_swept(servers: Servers) -> None:
    await reserve(servers.first, lease=LEASE)
    for _ in range(30):
        servers.clock.advance(LEASE - 1)
        renewed, swept = await asyncio.gather(
            servers.first.renew("k", owner="a", lease=LEASE),
            servers.second.expire(older_than=0),
        )
        assert (renewed, swept) == (True, 0)
    assert await servers.first.complete("k", owner="a", meta=b"job")


# -------------------------------------------------------------------------------------------------------- one at a time

Step = Callable[[Store], Awaitable[object]]
OWNERS = st.sampled_from(["a", "b"])
METAS = st.sampled_from([b"job 1", b"job 2"])


def on(key: str) -> st.SearchStrategy[Step]:
    """What may be done to a key's record."""
    new = Record(key, "t", tracked=True, meta=b"job 3", owner="c")
    return st.one_of(
        st.builds(
            lambda owner: (
                lambda store: store.reserve(
                    key, owner=owner, lease=LEASE, task_type="t", subject=SUBJECT, over_after=0.0
                )
            ),
            OWNERS,
        ),
        st.builds(lambda owner, meta: lambda store: store.complete(key, owner=owner, meta=meta), OWNERS, METAS),
        st.builds(lambda owner: lambda store: store.mark_unknown(key, owner=owner), OWNERS),
        st.builds(lambda owner: lambda store: store.mark_taken(key, owner=owner), OWNERS),
        st.builds(lambda owner: lambda store: store.release(key, owner=owner), OWNERS),
        st.just(lambda store: store.remember(new)),
        st.just(lambda store: store.note(key, delivered=False)),
        st.just(lambda store: store.note(key, polled=True)),
        st.just(lambda store: store.note(key, terminal="FAILED")),
        st.just(lambda store: store.want_deletion(key, reason="aborted", job=new)),
        st.just(lambda store: store.want_deletion(key, reason="orphan", still=Attention.LOST)),
        st.just(lambda store: store.claim_deletion(key, hold=60)),
        st.just(lambda store: store.note_deleted(key)),
        st.just(lambda store: store.set_aside(key, reason="reported")),
        st.just(lambda store: store.forget(key)),
        st.just(lambda store: store.find(key)),
    )


async def in_turn(steps: list[Step], store: Store, key: str) -> list[object]:
    return [*[await step(store) for step in steps], await store.find(key)]


def test_callers_at_once_are_answered_as_if_they_had_come_in_some_order(make: Make) -> None:
    clock = Clock()
    stores = make(clock)
    keys = iter(range(1_000_000))

    async def together(steps: list[Step], key: str) -> list[object]:
        answers = await asyncio.gather(*(step(stores[n % len(stores)]) for n, step in enumerate(steps)))
        return [*answers, await stores[0].find(key)]

    async def some_order(before: list[Step], steps: list[Step], key: str) -> list[list[object]]:
        possible = []
        for order in permutations(range(len(steps))):
            store = MemoryStore(clock=clock)
            await in_turn(before, store, key)
            *answers, end = await in_turn([steps[n] for n in order], store, key)
            possible.append([*(answers[order.index(n)] for n in range(len(steps))), end])
        return possible

    with asyncio.Runner() as runner:
        for store in stores:
            runner.run(store.start())

        @settings(max_examples=40)
        @given(data=st.data())
        def check(data: st.DataObject) -> None:
            key = f"k{next(keys)}"
            before = data.draw(st.lists(on(key), max_size=3))
            steps = data.draw(st.lists(on(key), min_size=2, max_size=4))
            runner.run(in_turn(before, stores[0], key))
            assert runner.run(together(steps, key)) in runner.run(some_order(before, steps, key))

        check()
        for store in stores:
            runner.run(store.aclose())
