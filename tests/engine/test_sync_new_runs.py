"""``do`` under a name that was run before: a repeat is given the result, a new run is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import anyio
import pytest

from connectors import Phase, Resource
from connectors._engine.engine import Engine
from connectors._engine.requests import Caller
from tests.engine.echoes import FLYTE2, echo, until_terminal
from tests.engine.harness import Bench, job_request

pytestmark = pytest.mark.anyio


class Answered:
    """A caller whose answers leave at once, and who is there."""

    def caller(self, protocol: Literal["flyte1", "flyte2"] = "flyte2", key: str = "") -> Caller:
        return Caller(protocol, idempotency_key=key, on_answered=self.told.append)

    def __init__(self) -> None:
        self.told: list[Callable[[bool], None]] = []

    async def leave(self, *, delivered: bool = True) -> None:
        for callback in self.told:
            callback(delivered)
        self.told.clear()
        await anyio.sleep(1)


async def run_to_its_end(engine: Engine, answered: Answered, *, delivered: bool = True, key: str = "") -> bytes:
    meta = await engine.create(echo(answered.caller(key=key)))
    await until_terminal(engine, meta)
    await engine.get(job_request(meta, "echo", answered.caller()))
    await answered.leave(delivered=delivered)
    return meta


@pytest.mark.parametrize(("later", "calls"), [(590, 1), (610, 2)])
async def test_the_same_create_10_minutes_after_its_result_was_given_is_a_new_run(
    bench: Bench, later: float, calls: int
) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        await run_to_its_end(engine, answered)
        await anyio.sleep(later)
        await run_to_its_end(engine, answered)
    assert bench.echo.calls == calls


async def test_a_result_that_reached_nobody_is_kept_for_the_repeat(bench: Bench) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        await run_to_its_end(engine, answered, delivered=False)
        await anyio.sleep(700)
        await run_to_its_end(engine, answered)
    assert bench.echo.calls == 1


async def test_a_key_that_the_caller_chose_has_one_result(bench: Bench) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        await run_to_its_end(engine, answered, key="mine")
        await anyio.sleep(700)
        await run_to_its_end(engine, answered, key="mine")
    assert bench.echo.calls == 1


async def test_a_create_after_a_delete_is_a_new_run(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: _slow_success()
    async with bench.engine() as engine:
        meta = await engine.create(echo(FLYTE2))
        await engine.delete(job_request(meta, "echo", FLYTE2))
        assert (await engine.get(job_request(meta, "echo", FLYTE2))).phase is Phase.ABORTED
        again = await engine.create(echo(FLYTE2))
        await anyio.sleep(3)
        assert (await engine.get(job_request(again, "echo", FLYTE2))).phase is Phase.SUCCEEDED
    assert bench.echo.calls == 2


async def _slow_success() -> Resource:
    await anyio.sleep(1)
    return Resource(Phase.SUCCEEDED)


async def test_a_call_that_answers_at_once_is_made_anew_10_minutes_after_its_answer_left(bench: Bench) -> None:
    answered = Answered()
    async with bench.engine() as engine:
        for _ in range(2):
            await engine.do(echo(answered.caller("flyte1")))
            await answered.leave()
        await anyio.sleep(610)
        await engine.do(echo(answered.caller("flyte1")))
    assert bench.echo.calls == 2
