"""What is paused begins nothing new; what there is goes on."""

from __future__ import annotations

import anyio
import pytest

from connectors import Context, Phase, Resource, Unavailable
from connectors._engine.outcome import status_of
from connectors._engine.pauses import Paused, Pauses
from tests.engine.echoes import FLYTE2, echo, until_terminal
from tests.engine.harness import Acme, Bench, Job, create_request, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio


class Native(Acme):
    dedupe = "native"


SECOND = "s3://bucket/ex1/n0/1"


@pytest.mark.parametrize("name", ["acme", "*"])
async def test_a_create_is_unavailable_and_reaches_no_platform(bench: Bench, name: str) -> None:
    async with bench.engine() as engine:
        engine.pauses.set([name])
        with pytest.raises(Paused, match="acme is paused") as raised:
            await engine.create(create_request())
    assert status_of(raised.value) == "UNAVAILABLE"
    assert bench.acme.keys == []


async def test_a_pause_of_a_plugin_is_one_of_its_task_types() -> None:
    pauses = Pauses()
    pauses.set(["of-two-types"])
    assert pauses.hold("one", "of-two-types")
    assert pauses.hold("two", "of-two-types")
    assert not pauses.hold("one", "another")


async def test_the_others_are_not_paused(bench: Bench) -> None:
    async with bench.engine() as engine:
        engine.pauses.set(["echo"])
        assert await engine.create(create_request())


async def test_the_same_create_makes_its_job_afterwards(bench: Bench) -> None:
    async with bench.engine() as engine:
        engine.pauses.set(["acme"])
        with pytest.raises(Paused):
            await engine.create(create_request())
        engine.pauses.set([])
        assert await engine.create(create_request())
    assert len(bench.acme.keys) == 1
    assert bench.outcomes == ["new"]


async def test_polls_and_deletes_go_on(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await engine.create(create_request())
        engine.pauses.set(["*"])
        assert (await engine.get(job_request(meta))).phase is Phase.RUNNING
        await engine.delete(job_request(meta))
    assert (bench.acme.gets, bench.acme.deletes) == (1, 1)


async def test_a_repeated_create_is_given_its_job(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await engine.create(create_request())
        engine.pauses.set(["acme"])
        assert await engine.create(create_request()) == meta
    assert len(bench.acme.keys) == 1


async def test_a_create_that_is_under_way_goes_on(bench: Bench) -> None:
    entered = anyio.Event()

    async def slow(ctx: Context) -> None:
        entered.set()
        await anyio.sleep(3)

    bench.acme.on_create = slow
    metas: list[bytes] = []

    async def create() -> None:
        metas.append(await engine.create(create_request()))

    async with bench.engine() as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        await entered.wait()
        engine.pauses.set(["acme"])
        tasks.start_soon(create)
    assert metas == [Job(bench.acme.keys[0]).encode()] * 2


async def test_a_create_whose_outcome_is_not_known_is_looked_for_when_it_is_over(bench: Bench) -> None:
    def lost(ctx: Context) -> None:
        raise Unavailable("no answer")

    bench.acme.on_create = lost
    async with bench.engine() as engine:
        with pytest.raises(Unavailable):
            await engine.create(create_request())
        bench.acme.on_create = lambda ctx: None
        engine.pauses.set(["acme"])
        with pytest.raises(Paused):
            await engine.create(create_request())
        record = await bench.store.find(bench.acme.keys[0])
        assert record is not None
        assert record.state.name == "UNKNOWN"


async def test_the_attempt_before_is_left_alone(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.create(create_request())
        engine.pauses.set(["acme"])
        with pytest.raises(Paused):
            await engine.create(create_request(prefix=SECOND))
    assert bench.acme.deletes == 0


async def test_a_create_without_the_store_is_refused_too() -> None:
    store = UnreachableStore()
    store.down = True
    bench = Bench(store=store, acme=Native())
    async with bench.engine() as engine:
        engine.pauses.set(["acme"])
        with pytest.raises(Paused):
            await engine.create(create_request())
    assert bench.acme.keys == []


async def test_a_call_that_answers_at_once_is_refused(bench: Bench) -> None:
    async with bench.engine() as engine:
        engine.pauses.set(["echo"])
        with pytest.raises(Paused):
            await engine.do(create_request("echo"))
    assert bench.echo.calls == 0


async def test_a_stored_result_is_given(bench: Bench) -> None:
    async with bench.engine() as engine:
        first = await engine.do(create_request("echo"))
        engine.pauses.set(["echo"])
        assert await engine.do(create_request("echo")) == first
    assert bench.echo.calls == 1


async def test_a_call_as_a_job_is_refused_and_can_be_made_later(bench: Bench) -> None:
    async with bench.engine() as engine:
        engine.pauses.set(["echo"])
        with pytest.raises(Paused):
            await engine.create(echo(FLYTE2))
        engine.pauses.set([])
        assert (await until_terminal(engine, await engine.create(echo(FLYTE2)))).phase is Phase.SUCCEEDED


async def test_a_call_as_a_job_that_its_server_lost_is_running_until_it_may_be_made_again(bench: Bench) -> None:
    async def endless(ctx: Context) -> Resource:
        await anyio.sleep_forever()
        raise AssertionError

    bench.echo.on_do = endless
    async with bench.engine() as engine:
        meta = await engine.create(echo(FLYTE2))
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED)
    async with bench.engine() as engine:
        engine.pauses.set(["echo"])
        answer = await engine.get(job_request(meta, "echo", FLYTE2))
        assert (answer.phase, bench.echo.calls) == (Phase.RUNNING, 1)
        engine.pauses.set([])
        assert (await until_terminal(engine, meta)).phase is Phase.SUCCEEDED
