"""What was seen of a job is written down beside the calls, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from connectors import DeadlineExceeded, Phase, Resource
from connectors._engine.marks import Marks
from connectors._engine.requests import Caller
from connectors._stores import Delivery, Record, State, job_of
from tests.engine.harness import Bench, create_request, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio


class NoteStore(UnreachableStore):
    """Counts notes, and can be slow to take them."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.under_way = 0
        self.most_at_once = 0
        self.slowness = 0.0
        self.broken_key = ""

    async def note(
        self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = ""
    ) -> Record | None:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await anyio.sleep(self.slowness)
            if key == self.broken_key:
                raise ValueError("the record is broken")
            record = await super().note(key, delivered=delivered, polled=polled, terminal=terminal)
        finally:
            self.under_way -= 1
        self.notes.append(key)
        return record

    async def hold(self, *keys: str) -> None:
        for key in keys:
            await self.remember(Record(key, "acme", tracked=True, meta=key.encode()))


@pytest.fixture
async def store() -> NoteStore:
    store = NoteStore()
    await store.start()
    await store.hold("k")
    return store


@asynccontextmanager
async def writing(marks: Marks) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(marks.run)
        yield
        tasks.cancel_scope.cancel()


async def found(store: NoteStore, key: str = "k") -> Record:
    record = await store.find(key)
    assert record is not None
    return record


async def test_a_delivery_and_the_poll_at_once_after_it_are_one_write(store: NoteStore) -> None:
    marks = Marks(store)
    async with writing(marks):
        marks.note("k", delivered=True)
        await anyio.sleep(0.02)
        marks.note("k", polled=True)
        await anyio.sleep(1)
    record = await found(store)
    assert store.notes == ["k"]
    assert (record.delivery, record.asked_at > 0) == (Delivery.DELIVERED, True)


async def test_a_mark_is_written_within_a_tenth_of_a_second(store: NoteStore) -> None:
    marks = Marks(store)
    async with writing(marks):
        marks.note("k", terminal="SUCCEEDED")
        await anyio.sleep(0.1)
        assert (await found(store)).terminal == "SUCCEEDED"


@pytest.mark.parametrize("order", [(True, False), (False, True)])
async def test_an_answer_that_arrived_outweighs_one_that_did_not(store: NoteStore, order: tuple[bool, bool]) -> None:
    marks = Marks(store)
    for delivered in order:
        marks.note("k", delivered=delivered)
    await marks.flush()
    assert (await found(store)).delivery is Delivery.DELIVERED


async def test_an_answer_that_reached_nobody_is_lost(store: NoteStore) -> None:
    marks = Marks(store)
    marks.note("k", delivered=False)
    await marks.flush()
    assert (await found(store)).delivery is Delivery.LOST


async def test_a_poll_outweighs_an_answer_that_seemed_lost(store: NoteStore) -> None:
    marks = Marks(store)
    marks.note("k", delivered=False)
    marks.note("k", polled=True)
    await marks.flush()
    assert (await found(store)).delivery is Delivery.DELIVERED


async def test_the_first_terminal_phase_stands(store: NoteStore) -> None:
    marks = Marks(store)
    marks.note("k", terminal="SUCCEEDED")
    marks.note("k", terminal="FAILED")
    await marks.flush()
    assert (await found(store)).terminal == "SUCCEEDED"


async def test_marks_outlast_an_outage_of_the_store(store: NoteStore) -> None:
    marks, store.down = Marks(store), True
    async with writing(marks):
        marks.note("k", delivered=True)
        await anyio.sleep(60)
        marks.note("k", terminal="FAILED")
        await anyio.sleep(3_600)
        assert marks.is_pending("k")
        store.down = False
        await anyio.sleep(10)
    record = await found(store)
    assert (record.delivery, record.terminal) == (Delivery.DELIVERED, "FAILED")
    assert not marks.is_pending("k")


async def test_what_comes_during_a_write_is_written_next(store: NoteStore) -> None:
    marks, store.slowness = Marks(store), 1.0
    async with writing(marks):
        marks.note("k", polled=True)
        await anyio.sleep(0.5)
        marks.note("k", terminal="SUCCEEDED")
        assert marks.is_pending("k")
        await anyio.sleep(3)
    assert store.notes == ["k", "k"]
    assert (await found(store)).terminal == "SUCCEEDED"


async def test_only_so_many_are_written_at_once(store: NoteStore) -> None:
    marks, store.slowness = Marks(store), 1.0
    for number in range(100):
        marks.note(f"k{number}", polled=True)
    await marks.flush()
    assert len(store.notes) == 100
    assert 1 < store.most_at_once <= 16


async def test_beyond_the_bound_the_oldest_are_dropped_with_one_line(
    store: NoteStore, caplog: pytest.LogCaptureFixture
) -> None:
    marks, store.down = Marks(store, most=3), True
    for number in range(10):
        marks.note(f"k{number}", polled=True)
    await marks.flush()
    assert [key for key in (f"k{number}" for number in range(10)) if marks.is_pending(key)] == ["k7", "k8", "k9"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_mark_that_cannot_be_written_ever_keeps_no_other_back(store: NoteStore) -> None:
    marks, store.broken_key = Marks(store), "broken"
    marks.note("broken", polled=True)
    marks.note("k", polled=True)
    assert await marks.flush()
    assert (await found(store)).asked_at


async def test_a_flush_says_when_the_store_is_out_of_reach(store: NoteStore) -> None:
    marks, store.down = Marks(store), True
    marks.note("k", polled=True)
    assert not await marks.flush()
    store.down = False
    assert await marks.flush()


# --- marks that come before their record


async def test_a_mark_waits_for_its_record(store: NoteStore) -> None:
    marks = Marks(store)
    async with writing(marks):
        marks.note("late", delivered=False)
        await anyio.sleep(600)
        assert marks.is_pending("late")
        await store.hold("late")
        await anyio.sleep(65)
        assert (await found(store, "late")).delivery is Delivery.LOST
        assert not marks.is_pending("late")


async def test_a_mark_that_waits_is_joined_by_what_comes_later(store: NoteStore) -> None:
    marks = Marks(store)
    async with writing(marks):
        marks.note("late", delivered=False)
        await anyio.sleep(1)
        await store.hold("late")
        marks.note("late", terminal="FAILED")
        await anyio.sleep(0.2)
        record = await found(store, "late")
    assert (record.delivery, record.terminal) == (Delivery.LOST, "FAILED")


async def test_a_mark_without_a_record_is_dropped_after_an_hour(store: NoteStore) -> None:
    marks = Marks(store)
    async with writing(marks):
        marks.note("late", polled=True)
        await anyio.sleep(3_700)
        assert not marks.is_pending("late")
        looks = len(store.notes)
        await anyio.sleep(3_600)
    assert looks == len(store.notes) < 80


async def test_marks_that_wait_for_their_record_hold_up_no_other(store: NoteStore) -> None:
    marks = Marks(store)
    async with writing(marks):
        marks.note("late", polled=True)
        await anyio.sleep(100)
        marks.note("k", terminal="FAILED")
        await anyio.sleep(0.1)
        assert (await found(store)).terminal == "FAILED"


async def test_marks_that_wait_for_their_record_outlast_an_outage(store: NoteStore) -> None:
    marks = Marks(store)
    async with writing(marks):
        marks.note("late", delivered=False)
        await anyio.sleep(1)
        store.down = True
        await anyio.sleep(600)
        store.down = False
        await store.hold("late")
        await anyio.sleep(65)
        assert (await found(store, "late")).delivery is Delivery.LOST


async def test_beyond_their_bound_the_oldest_that_wait_for_their_record_are_dropped(store: NoteStore) -> None:
    marks = Marks(store, most_early=3)
    for number in range(10):
        marks.note(f"late{number}", polled=True)
    assert await marks.flush()
    assert sum(marks.is_pending(f"late{number}") for number in range(10)) == 3


async def test_the_end_of_a_job_whose_key_is_not_known_is_written_down_by_its_hash(store: NoteStore) -> None:
    marks = Marks(store)
    marks.note_end(job_of("acme", 0, b"k"), "FAILED")
    await marks.flush()
    assert (await found(store)).terminal == "FAILED"


# --- what the engine notes


def told(delivered: bool | None) -> Caller:
    """A caller whose answer left, or did not, when its call is over; None: when that is not known."""
    return Caller("flyte1", on_answered=None if delivered is None else lambda tell: _later(tell, delivered))


def _later(tell: object, delivered: bool) -> None:
    assert callable(tell)
    asyncio.get_running_loop().call_later(0.01, tell, delivered)


async def test_a_meta_whose_answer_left_is_delivered(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.create(create_request(caller=told(True)))
        await anyio.sleep(1)
        assert (await _record(bench)).delivery is Delivery.DELIVERED


async def test_a_meta_whose_answer_did_not_leave_is_lost(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.create(create_request(caller=told(False)))
        await anyio.sleep(1)
        assert (await _record(bench)).delivery is Delivery.LOST


async def test_a_meta_that_came_after_its_caller_gave_up_is_lost(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(20)
    async with bench.engine() as engine:
        with pytest.raises(DeadlineExceeded):
            await engine.create(create_request(caller=told(False)))
        await anyio.sleep(20)
        record = await _record(bench)
    assert (record.state, record.delivery) == (State.DONE, Delivery.LOST)


async def test_marks_are_written_when_the_server_ends(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await engine.create(create_request())
        bench.acme.on_get = lambda ctx: Resource(Phase.SUCCEEDED)
        await engine.get(job_request(meta))
    assert (await _record(bench)).terminal == "SUCCEEDED"


async def test_a_store_out_of_reach_holds_the_server_s_end_up_for_seconds_at_the_most(bench: Bench) -> None:
    bench.store = store = NoteStore()
    await store.start()
    async with bench.engine() as engine:
        meta = await engine.create(create_request())
        await engine.get(job_request(meta))
        store.slowness = 3_600.0
        before = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - before < 10


async def _record(bench: Bench) -> Record:
    (key,) = set(bench.acme.keys)
    record = await bench.store.find(key)
    assert record is not None
    return record
