"""``do``, answered at once, as on Flyte 1; and what holds for a ``do`` on either protocol."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import pytest

from connectors import Conflict, Context, InvalidRequest, Phase, Resource, Unimplemented
from connectors._engine.outcome import ConnectorBug
from connectors._engine.requests import Caller
from connectors._stores.memory import MemoryStore
from connectors._stores.store import Payload, StoreUnavailable
from connectors.context import Protocol
from tests.engine.echoes import FLYTE2, echo, until_terminal
from tests.engine.harness import Bench, create_request, job_request

pytestmark = pytest.mark.anyio


async def test_do_answers_with_its_outputs(bench: Bench) -> None:
    async with bench.engine() as engine:
        assert await engine.do(echo()) == Resource(Phase.SUCCEEDED, outputs={"v": 7})
    assert bench.events[-1].operation == "do"


async def test_a_large_result_is_written_beside_the_event_loop_once(bench: Bench) -> None:
    bench.forms.large = True
    async with bench.engine() as engine:
        assert await engine.do(echo()) == Resource(Phase.SUCCEEDED, outputs={"v": 7})
    (writer,) = bench.forms.writers
    assert writer != threading.get_ident()


async def test_a_large_stored_result_is_read_beside_the_event_loop(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED, outputs={"v": "x" * 40_000})
    async with bench.engine() as engine:
        await engine.do(echo())
        await engine.do(echo())
    (reader,) = bench.forms.readers
    assert reader != threading.get_ident()


async def test_the_same_request_again_gets_the_stored_result(bench: Bench) -> None:
    async with bench.engine() as engine:
        assert await engine.do(echo()) == await engine.do(echo())
    assert bench.echo.calls == 1
    assert [event.repeated for event in bench.events] == [False, True]


async def test_another_server_gives_the_stored_result_too(bench: Bench) -> None:
    async with bench.engine() as one, bench.engine() as two:
        assert await one.do(echo()) == await two.do(echo())
    assert bench.echo.calls == 1


async def test_a_stored_result_is_short_lived(bench: Bench) -> None:
    async with bench.engine(result_ttl=60) as engine:
        await engine.do(echo())
        await anyio.sleep(61)
        await engine.do(echo())
    assert bench.echo.calls == 2


async def test_a_result_over_the_bound_is_given_but_not_kept(bench: Bench) -> None:
    async with bench.engine(result_max_bytes=10) as engine:
        for _ in range(2):
            assert (await engine.do(echo())).outputs == {"v": 7}
    assert bench.echo.calls == 2


async def test_a_failed_do_frees_its_key(bench: Bench) -> None:
    def refuse(ctx: Context) -> Resource:
        raise InvalidRequest("no message")

    bench.echo.on_do = refuse
    async with bench.engine() as engine:
        for _ in range(2):
            with pytest.raises(InvalidRequest):
                await engine.do(echo())
    assert bench.echo.calls == 2


@pytest.mark.parametrize(
    "answer",
    [Resource(Phase.RUNNING), Resource(3), None, "done"],  # type: ignore[arg-type]
    ids=repr,
)
async def test_what_is_no_terminal_resource_is_a_bug_and_ends_a_job(bench: Bench, answer: Any) -> None:
    bench.echo.on_do = lambda ctx: answer
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug):
            await engine.do(echo())
        bench.echo.calls = 0
        resource = await until_terminal(engine, await engine.create(echo(FLYTE2)))
        assert (resource.phase, bench.echo.calls) == (Phase.FAILED, 1)


async def test_an_output_that_cannot_be_written_is_a_bug(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED, outputs={"o0": object()})
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug):
            await engine.do(echo())


async def test_each_kind_refuses_the_other_s_call(bench: Bench) -> None:
    async with bench.engine() as engine:
        with pytest.raises(Unimplemented, match="CreateTask"):
            await engine.do(create_request("acme"))
        with pytest.raises(Unimplemented, match="ExecuteTaskSync"):
            await engine.create(echo())
        with pytest.raises(Unimplemented, match="ExecuteTaskSync"):
            await engine.get(job_request(b"{}", "echo"))


@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_an_explicit_key_belongs_to_one_call_also_when_it_is_over(bench: Bench, protocol: Protocol) -> None:
    caller = Caller(protocol, idempotency_key="mine")
    async with bench.engine() as engine:
        first = create_request("echo", inputs={"v": 1}, caller=caller)
        if protocol == "flyte1":
            assert await engine.do(first) == await engine.do(first)
            with pytest.raises(Conflict):
                await engine.do(create_request("echo", inputs={"v": 2}, caller=caller))
        else:
            meta = await engine.create(first)
            await until_terminal(engine, meta)
            assert await engine.create(first) == meta
            with pytest.raises(Conflict):
                await engine.create(create_request("echo", inputs={"v": 2}, caller=caller))
    assert bench.echo.calls == 1


class _FullStore(MemoryStore):
    """Keeps no result."""

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        raise StoreUnavailable("the disk is full")


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(bench: Bench) -> None:
    bench.store = _FullStore()
    await bench.store.start()
    async with bench.engine() as engine:
        assert (await engine.do(echo())).outputs == {"v": 7}
    assert asyncio.get_running_loop().time() == 0
