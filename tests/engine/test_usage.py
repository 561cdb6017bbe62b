"""What a platform charged for is counted once, by those who are told of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors import Context, Phase, Resource, Unavailable
from connectors._engine.requests import Caller
from tests.engine.harness import Bench, create_request, job_request

pytestmark = pytest.mark.anyio


def spending(phase: Phase, amount: float = 12) -> Any:
    def tell(ctx: Context) -> Resource:
        ctx.used("tokens", amount)
        return Resource(phase)

    return tell


async def test_what_a_do_used_is_counted(bench: Bench) -> None:
    bench.echo.on_do = spending(Phase.SUCCEEDED)
    async with bench.engine() as engine:
        await engine.do(create_request("echo"))
    assert bench.used == [("echo", {"tokens": 12})]


async def test_a_do_that_was_tried_again_has_used_what_all_its_tries_used(bench: Bench) -> None:
    def fails_first(ctx: Context) -> Resource:
        ctx.used("tokens", 5)
        if bench.echo.calls < 3:
            raise Unavailable("cut off")
        return Resource(Phase.SUCCEEDED)

    bench.echo.on_do = fails_first
    async with bench.engine() as engine:
        await engine.do(create_request("echo"))
    assert bench.used == [("echo", {"tokens": 15})]


async def test_what_a_do_used_that_nobody_waits_for_any_more_is_counted(bench: Bench) -> None:
    async def slow(ctx: Context) -> Resource:
        await asyncio.sleep(30)
        return spending(Phase.SUCCEEDED)(ctx)  # type: ignore[no-any-return]

    bench.echo.on_do = slow
    async with bench.engine() as engine:
        call = asyncio.create_task(engine.do(create_request("echo")))
        await asyncio.sleep(1)
        call.cancel()
        await engine.drain()
    assert bench.used == [("echo", {"tokens": 12})]


async def test_what_a_create_used_is_counted(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: ctx.used("tokens", 3)
    async with bench.engine() as engine:
        await engine.create(create_request())
    assert bench.used == [("acme", {"tokens": 3})]


async def test_what_a_job_used_is_counted_with_its_end_and_not_before(bench: Bench) -> None:
    async with bench.engine() as engine:
        job = job_request(await engine.create(create_request()))
        bench.acme.on_get = spending(Phase.RUNNING, 4)
        await engine.get(job)
        assert bench.used == []
        bench.acme.on_get = spending(Phase.SUCCEEDED, 9)
        await engine.get(job)
    assert bench.used == [("acme", {"tokens": 9})]


async def test_polls_that_go_on_after_the_end_count_nothing_more(bench: Bench) -> None:
    bench.acme.on_get = spending(Phase.SUCCEEDED)
    async with bench.engine() as engine:
        job = job_request(await engine.create(create_request()))
        for _ in range(3):
            await engine.get(job)
            await asyncio.sleep(30)
    assert bench.used == [("acme", {"tokens": 12})]


async def test_polls_at_once_count_the_jobs_end_once(bench: Bench) -> None:
    async def slow(ctx: Context) -> Resource:
        await asyncio.sleep(1)
        return spending(Phase.SUCCEEDED)(ctx)  # type: ignore[no-any-return]

    bench.acme.on_get = slow
    async with bench.engine() as engine:
        job = job_request(await engine.create(create_request()))
        await asyncio.gather(*(engine.get(job) for _ in range(4)))
    assert bench.used == [("acme", {"tokens": 12})]


async def test_an_end_that_did_not_reach_the_backend_is_counted_when_it_does(bench: Bench) -> None:
    bench.acme.on_get = spending(Phase.SUCCEEDED)
    reached: list[Any] = []
    async with bench.engine() as engine:
        meta = await engine.create(create_request())
        await engine.get(job_request(meta, caller=Caller("flyte1", on_answered=reached.append)))
        reached.pop()(False)
        assert bench.used == []
        await engine.get(job_request(meta, caller=Caller("flyte1", on_answered=reached.append)))
        reached.pop()(True)
    assert bench.used == [("acme", {"tokens": 12})]


async def test_a_poll_that_was_tried_again_tells_what_its_last_try_told(bench: Bench) -> None:
    def fails_first(ctx: Context) -> Resource:
        ctx.used("tokens", 7)
        if bench.acme.gets < 2:
            raise Unavailable("cut off")
        return Resource(Phase.SUCCEEDED)

    bench.acme.on_get = fails_first
    async with bench.engine() as engine:
        await engine.get(job_request(await engine.create(create_request())))
    assert bench.used == [("acme", {"tokens": 7})]


@pytest.mark.parametrize(
    ("unit", "amount"), [("gpt-6", 1), ("", 1), ("T" * 41, 1), ("tokens", -1), ("tokens", float("nan"))]
)
async def test_a_unit_or_an_amount_that_is_none_is_refused(bench: Bench, unit: str, amount: float) -> None:
    refused: list[ValueError] = []

    def tell(ctx: Context) -> Resource:
        with pytest.raises(ValueError, match="cannot") as found:
            ctx.used(unit, amount)
        refused.append(found.value)
        return Resource(Phase.SUCCEEDED)

    bench.echo.on_do = tell
    async with bench.engine() as engine:
        await engine.do(create_request("echo"))
    assert len(refused) == 1
    assert bench.used == []
