"""A store that fails on command, and what its watcher makes of it. Time is virtual."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import pytest

from connectors._stores import Store, StoreUnavailable, StoreUnfit
from connectors._stores.memory import MemoryStore
from connectors._stores.record import Record
from connectors._stores.watched import WatchedStore
from connectors.testing.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


class Breakable(MemoryStore):
    """Raises ``fault``, or hangs, in each of the methods that the tests use."""

    at_once = False

    def __init__(self) -> None:
        super().__init__()
        self.fault: Exception | None = None
        self.read_only = False
        self.hangs = False
        self.calls: list[tuple[float, str]] = []

    async def _reach(self, method: str) -> None:
        self.calls.append((now(), method))
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault

    async def start(self) -> None:
        await self._reach("start")
        await super().start()

    async def find(self, key: str) -> Record | None:
        await self._reach("find")
        return await super().find(key)

    async def save(self, *args: Any, **options: Any) -> None:
        await self._reach("save")
        if self.read_only:
            raise StoreUnavailable("it is read-only")
        await super().save(*args, **options)

    async def records(self) -> AsyncIterator[Record]:
        await self._reach("records")
        async for record in super().records():
            yield record
            await self._reach("next")

    async def now(self) -> float:
        await self._reach("now")
        return await super().now()

    def count(self, method: str) -> int:
        return sum(name == method for _, name in self.calls)


def now() -> float:
    return asyncio.get_running_loop().time()


def gone() -> StoreUnavailable:
    return StoreUnavailable("the connection was refused")


@pytest.fixture
def inner() -> Breakable:
    return Breakable()


@pytest.fixture
async def store(inner: Breakable) -> AsyncIterator[WatchedStore]:
    watched = WatchedStore(inner)
    await watched.start()
    await anyio.sleep(100)
    yield watched
    inner.hangs = False
    await watched.aclose()


async def lose(store: WatchedStore, inner: Breakable, fault: Exception | None = None) -> None:
    inner.fault = fault or gone()
    with pytest.raises(StoreUnavailable):
        await store.find("k")


async def test_a_store_in_reach_has_been_so_since_its_start(store: WatchedStore) -> None:
    assert (store.down_since, store.up_since, store.fault, store.outages) == (None, 0, "", 0)
    await store.wait_up()


async def test_one_failed_call_tells_that_it_is_out_of_reach_since_then_and_why(
    store: WatchedStore, inner: Breakable
) -> None:
    await lose(store, inner)
    assert (store.down_since, store.up_since, store.outages) == (100, math.inf, 1)
    assert store.fault == "the connection was refused"


@pytest.mark.parametrize("fault", [ConnectionResetError("reset"), TimeoutError(), BrokenPipeError()])
async def test_a_foreign_error_of_the_connection_is_the_stores_own(
    store: WatchedStore, inner: Breakable, fault: Exception
) -> None:
    await lose(store, inner, fault)
    assert store.down_since == 100


async def test_a_store_that_becomes_unfit_while_it_is_used_is_out_of_reach(
    store: WatchedStore, inner: Breakable
) -> None:
    await lose(store, inner, StoreUnfit("the password was changed"))
    assert store.fault == "the password was changed"


async def test_an_error_that_says_nothing_of_the_connection_passes_through(
    store: WatchedStore, inner: Breakable
) -> None:
    inner.fault = ValueError("a record in the store is not one")
    with pytest.raises(ValueError, match="not one"):
        await store.find("k")
    assert store.down_since is None


async def test_a_call_that_is_not_answered_ends_after_5_s(store: WatchedStore, inner: Breakable) -> None:
    inner.hangs = True
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await store.find("k")
    assert now() == 105
    assert store.down_since == 105


async def test_a_caller_that_gives_up_proves_nothing(store: WatchedStore, inner: Breakable) -> None:
    inner.hangs = True
    with anyio.move_on_after(1):
        await store.find("k")
    assert store.down_since is None


async def test_while_it_is_out_of_reach_calls_fail_at_once_but_for_one_a_second(
    store: WatchedStore, inner: Breakable
) -> None:
    await lose(store, inner)
    inner.calls.clear()
    for _ in range(100):
        before = now()
        with pytest.raises(StoreUnavailable, match="refused"):
            await store.find("k")
        assert now() == before
        await anyio.sleep(0.1)
    assert 9 <= inner.count("find") <= 10


async def test_a_call_that_is_let_through_finds_it_back(store: WatchedStore, inner: Breakable) -> None:
    inner.hangs = True
    with pytest.raises(StoreUnavailable):
        await store.find("k")
    await anyio.sleep(2)  # the look has begun, and hangs
    inner.hangs = False
    assert await store.find("k") is None
    assert (store.down_since, store.up_since) == (None, 107)


async def test_it_is_found_back_without_a_call(store: WatchedStore, inner: Breakable) -> None:
    await lose(store, inner)
    await anyio.sleep(60)
    inner.fault = None
    await store.wait_up()
    assert 160 <= store.up_since <= 161.25
    assert store.down_since is None
    assert store.fault == ""
    assert await store.find("k") is None


async def test_it_is_looked_for_once_a_second_or_so_and_not_in_step_with_others(
    store: WatchedStore, inner: Breakable
) -> None:
    await lose(store, inner)
    await anyio.sleep(100)
    looks = [at for at, method in inner.calls if method == "save"]
    pauses = {round(after - before, 6) for before, after in pairwise(looks[1:])}
    assert 80 <= len(looks) <= 134
    assert len(pauses) > 10
    assert all(0.75 <= pause <= 1.25 for pause in pauses)


async def test_one_broken_connection_is_over_at_once(store: WatchedStore, inner: Breakable) -> None:
    await lose(store, inner)
    inner.fault = None
    await store.wait_up()
    assert now() == 100
    assert store.outages == 1


async def test_a_store_that_can_only_be_read_is_not_back(store: WatchedStore, inner: Breakable) -> None:
    await lose(store, inner)
    inner.fault, inner.read_only = None, True
    await anyio.sleep(0.5)
    assert store.down_since == 100
    assert store.fault == "it is read-only"


async def test_a_call_from_before_the_outage_that_fails_after_it_proves_nothing(
    store: WatchedStore, inner: Breakable
) -> None:
    await store.find("k")  # so that nobody asks by himself in the next seconds, and hangs too
    inner.hangs = True
    old = asyncio.create_task(store.find("k"))  # ends at 105
    await anyio.sleep(1)
    inner.hangs = False
    await lose(store, inner)
    inner.fault = None
    await store.wait_up()
    with pytest.raises(StoreUnavailable):
        await old
    assert now() == 105
    assert (store.down_since, store.up_since, store.outages) == (None, 101, 1)


async def test_an_outage_that_no_call_meets_is_noticed_within_seconds(store: WatchedStore, inner: Breakable) -> None:
    inner.fault = gone()
    await anyio.sleep(10)
    assert store.down_since is not None
    inner.fault = None
    await anyio.sleep(10)
    assert store.down_since is None
    assert store.up_since >= 110


async def test_a_store_that_is_called_anyway_is_not_asked_besides(store: WatchedStore, inner: Breakable) -> None:
    await store.find("k")
    inner.calls.clear()
    for _ in range(100):
        await anyio.sleep(1)
        await store.find("k")
    assert {method for _, method in inner.calls} == {"find"}


async def test_whatever_an_idle_store_answers_the_watch_goes_on(store: WatchedStore, inner: Breakable) -> None:
    inner.fault = ValueError("a bug")
    await anyio.sleep(20)
    inner.fault = gone()
    await anyio.sleep(10)
    assert store.down_since is not None


async def test_two_outages_in_a_row_have_one_task_that_looks(store: WatchedStore, inner: Breakable) -> None:
    inner.hangs = True
    with pytest.raises(StoreUnavailable):
        await store.find("k")
    await anyio.sleep(2)
    inner.hangs = False
    await store.find("k")  # found by a call, while the look still hangs
    await lose(store, inner)
    inner.calls.clear()
    await anyio.sleep(40)
    assert 25 <= inner.count("save") <= 54
    assert store.outages == 2


async def test_writers_wait_for_it_together(store: WatchedStore, inner: Breakable) -> None:
    await lose(store, inner)
    waited: list[float] = []

    async def write() -> None:
        await store.wait_up()
        waited.append(now())

    async with anyio.create_task_group() as writers:
        for _ in range(3):
            writers.start_soon(write)
        await anyio.sleep(10)
        assert waited == []
        inner.fault = None
    assert waited == [store.up_since] * 3


async def test_each_change_is_logged_once(
    store: WatchedStore, inner: Breakable, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        await lose(store, inner)
        for _ in range(20):
            await anyio.sleep(0.5)
            with pytest.raises(StoreUnavailable):
                await store.find("k")
        inner.fault = None
        await store.wait_up()
    lost, back, *again = caplog.messages
    assert lost == "the idempotency store is out of reach: the connection was refused"
    assert back.startswith("the idempotency store is back after 1")
    assert len(again) == 2


async def test_all_records_are_listed_and_an_outage_between_two_is_noticed(
    store: WatchedStore, inner: Breakable
) -> None:
    for key in "abc":
        await store.reserve(key, owner="o", lease=1, task_type="t", subject={})
    assert [record.key async for record in store.records()] == ["a", "b", "c"]
    records = aiter(store.records())
    assert (await anext(records)).key == "a"
    inner.fault = gone()
    with pytest.raises(StoreUnavailable):
        await anext(records)
    assert store.down_since is not None


# --- the start


async def test_a_store_that_is_out_of_reach_at_the_start_is_started_once_it_is_there(inner: Breakable) -> None:
    inner.fault = gone()
    store = WatchedStore(inner)
    await store.start()
    assert (store.down_since, store.up_since) == (0, math.inf)
    await anyio.sleep(30)
    with pytest.raises(StoreUnavailable, match="refused"):
        await store.find("k")
    assert {method for _, method in inner.calls} == {"start"}  # nothing else may be called before
    inner.fault = None
    await store.wait_up()
    assert 30 <= now() <= 31.25
    assert await store.find("k") is None
    await store.aclose()


async def test_a_store_that_is_not_answering_at_the_start_holds_it_for_30_s(inner: Breakable) -> None:
    inner.hangs = True
    store = WatchedStore(inner)
    await store.start()
    assert now() == 30
    assert store.down_since == 30
    inner.hangs = False
    await store.aclose()


async def test_a_store_that_is_unfit_does_not_start(inner: Breakable) -> None:
    inner.fault = StoreUnfit("it is another program's")
    store = WatchedStore(inner)
    with pytest.raises(StoreUnfit, match="another program's"):
        await store.start()
    inner.fault = None
    await store.aclose()


async def test_a_store_that_proves_unfit_once_it_is_there_is_logged_once_and_looked_at_again(
    inner: Breakable, caplog: pytest.LogCaptureFixture
) -> None:
    inner.fault = gone()
    store = WatchedStore(inner)
    await store.start()
    inner.fault = StoreUnfit("it is another program's")
    await anyio.sleep(20)
    assert store.down_since == 0
    assert caplog.messages[1:] == ["the idempotency store cannot be used: it is another program's"]
    inner.fault = None
    await store.wait_up()
    await store.aclose()


async def test_closing_it_while_it_is_out_of_reach_ends_the_look(store: WatchedStore, inner: Breakable) -> None:
    await lose(store, inner)
    await store.aclose()
    inner.calls.clear()
    await anyio.sleep(10)
    assert inner.calls == []


def test_every_method_of_a_store_is_watched() -> None:
    methods = {name for name, member in vars(Store).items() if callable(member) and not name.startswith("_")}
    assert methods <= vars(WatchedStore).keys()
    for name in methods:
        watched = inspect.signature(vars(WatchedStore)[name])
        hands_all_on = any(each.kind is each.VAR_KEYWORD for each in watched.parameters.values())
        assert hands_all_on or watched == inspect.signature(vars(Store)[name])
