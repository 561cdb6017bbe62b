"""Deletions that are due: every server carries them out, again and again."""

from __future__ import annotations

import itertools
import logging

import anyio
import pytest

from connectors import Context, InvalidRequest, NotFound, PermissionDenied, Unavailable
from connectors._engine.options import ConnectorLimits
from connectors._stores import Attention, Deletion, Record, State
from connectors._stores.memory import MemoryStore
from tests.engine.callers import job_of_attempt, raising
from tests.engine.harness import Acme, Bench, Job, job_request
from tests.engine.kept_jobs import META, found, hold

pytestmark = pytest.mark.anyio

ONE_TRY = ConnectorLimits(attempts=1)


async def test_a_deletion_that_is_wanted_is_carried_out_within_seconds(bench: Bench) -> None:
    key = await hold(bench.store)
    async with bench.engine():
        await bench.store.want_deletion(key, reason="by a person")
        await anyio.sleep(7)
    assert bench.acme.deletes == 1
    assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_a_deletion_is_one_event_of_its_task_type_and_key(bench: Bench) -> None:
    key = await hold(bench.store, subject={"protocol": "flyte2"})
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
    (event,) = bench.events
    assert (event.operation, event.task_type, event.status, event.key, event.protocol, event.attempts) == (
        "reap",
        "acme",
        "OK",
        key,
        "flyte2",
        1,
    )


async def test_a_deletion_has_the_protocol_and_the_prefix_of_its_create_and_no_caller_s_secret(bench: Bench) -> None:
    seen: list[Context] = []
    bench.acme.on_delete = seen.append
    key = await hold(bench.store, subject={"protocol": "flyte2", "output_prefix": "s3://b/p"})
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
        assert await seen[0].secrets.find("connection") is None
    assert (seen[0].protocol, seen[0].output_prefix) == ("flyte2", "s3://b/p")


async def test_a_job_that_is_missing_is_deleted(bench: Bench) -> None:
    bench.acme.on_delete = raising(NotFound())
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
    assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_a_deletion_that_fails_is_tried_again_after_a_growing_pause(bench: Bench) -> None:
    tries: list[float] = []

    def fail(ctx: Context) -> None:
        tries.append(anyio.current_time())
        raise Unavailable

    bench.acme.on_delete = fail
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine(limits=ONE_TRY):
        await anyio.sleep(3_600)
        assert (await found(bench.store, key)).deletion is Deletion.WANTED
        bench.acme.on_delete = lambda ctx: None
        await anyio.sleep(620)
        assert (await found(bench.store, key)).deletion is Deletion.DONE
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses[:6] == [pytest.approx(pause, abs=7) for pause in (63, 123, 243, 483, 603, 603)]


async def test_a_deletion_is_given_up_after_a_week(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.acme.on_delete = raising(PermissionDenied("HTTP 403"))
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    caplog.set_level(logging.CRITICAL)
    async with bench.engine(limits=ONE_TRY, reap_every=60.0):
        await anyio.sleep(6.5 * 86_400)
        assert (await found(bench.store, key)).attention() is Attention.DELETE
        await anyio.sleep(2 * 86_400)
        record = await found(bench.store, key)
    assert record.attention() is Attention.NONE
    assert "HTTP 403" in record.reason


async def test_a_deletion_that_will_never_be_possible_is_given_up_at_once(bench: Bench) -> None:
    bench.acme.on_delete = raising(InvalidRequest("not our host"))
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(86_400)
    record = await found(bench.store, key)
    assert bench.acme.deletes == 1
    assert (record.attention(), record.reason) == (Attention.NONE, "could not be cancelled: not our host")


@pytest.mark.parametrize("state", [State.RESERVED, State.UNKNOWN])
async def test_a_job_that_is_not_known_yet_is_cancelled_when_it_is(bench: Bench, state: State) -> None:
    await bench.store.reserve("k", owner="o", lease=1, task_type="acme", subject={})
    if state is State.UNKNOWN:
        await bench.store.mark_unknown("k", owner="o")
    await bench.store.want_deletion("k", reason="by a person")
    async with bench.engine():
        await anyio.sleep(3_600)
        assert bench.acme.deletes == 0
        await bench.store.reserve("k", owner="p", lease=60, task_type="acme")
        await bench.store.complete("k", owner="p", meta=META)
        await anyio.sleep(7)
        assert (await found(bench.store, "k")).deletion is Deletion.DONE
    assert bench.acme.deletes == 1


async def test_only_task_types_that_are_served_here_are_looked_after(bench: Bench) -> None:
    key = await hold(bench.store, task_type="elsewhere")
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(3_600)
    record = await found(bench.store, key)
    assert (record.deletion, record.delete_tries) == (Deletion.WANTED, 0)


async def test_many_of_another_server_s_task_types_stand_in_nobody_s_way(bench: Bench) -> None:
    for number in range(1_200):
        other = await hold(bench.store, b"%d" % number, task_type="elsewhere")
        await bench.store.want_deletion(other, reason="by a person")
    await anyio.sleep(1)
    key = await hold(bench.store)
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
    assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_servers_that_share_a_store_delete_a_job_once(bench: Bench) -> None:
    bench.acme.on_delete = lambda ctx: anyio.sleep(8)
    for number in range(20):
        key = await hold(bench.store, Job(f"j{number}").encode())
        await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine(), bench.engine(), bench.engine():
        await anyio.sleep(120)
    assert bench.acme.deletes == 20


async def test_a_slow_platform_holds_up_no_other(bench: Bench) -> None:
    class Quick(Acme):
        task_type = "quick"

    quick = Quick()
    bench.extra = (quick,)
    bench.acme.on_delete = lambda ctx: anyio.sleep(3_600)
    slow, key = await hold(bench.store), await hold(bench.store, task_type="quick")
    await bench.store.want_deletion(slow, reason="by a person")
    await bench.store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(7)
        assert (await found(bench.store, key)).deletion is Deletion.DONE


async def test_a_deletion_that_a_caller_s_call_carries_out_is_left_to_it(bench: Bench) -> None:
    bench.acme.on_delete = lambda ctx: anyio.sleep(8)
    async with bench.engine() as engine:
        meta = await job_of_attempt(engine)
        await engine.delete(job_request(meta))
        await anyio.sleep(120)
    assert bench.acme.deletes == 1


class BrokenStore(MemoryStore):
    """Fails at one of its methods, as where a record cannot be read."""

    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken

    def _pass(self, method: str) -> None:
        if method == self.broken:
            raise ValueError("a record in the store is not one")

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        self._pass("waiting")
        return await super().waiting(attention, older_than=older_than, limit=limit)

    async def claim_deletion(self, key: str, *, hold: float) -> Record | None:
        self._pass("claim_deletion")
        return await super().claim_deletion(key, hold=hold)


async def deletion_once_mended(bench: Bench, store: BrokenStore) -> Deletion:
    """What has become of a wanted deletion a round after the store was mended, which was broken for a minute."""
    bench.store = store
    await store.start()
    key = await hold(store)
    await store.want_deletion(key, reason="by a person")
    async with bench.engine():
        await anyio.sleep(60)
        store.broken = ""
        await anyio.sleep(7)
    return (await found(store, key)).deletion


async def test_a_round_that_fails_is_not_the_last(bench: Bench) -> None:
    assert await deletion_once_mended(bench, BrokenStore("waiting")) is Deletion.DONE


async def test_a_deletion_that_the_store_fails_at_is_tried_again(bench: Bench) -> None:
    assert await deletion_once_mended(bench, BrokenStore("claim_deletion")) is Deletion.DONE
