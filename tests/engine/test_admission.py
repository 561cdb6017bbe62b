"""How many calls run at once, and who waits for a turn."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from connectors import Context, Phase
from connectors._engine.engine import Engine
from connectors._engine.options import ConnectorLimits
from connectors._engine.outcome import AdmissionRefused
from tests.engine.callers import in_seconds
from tests.engine.harness import Bench, create_request

pytestmark = pytest.mark.anyio


async def test_no_more_calls_than_the_limit_run_at_once(bench: Bench) -> None:
    running = most = 0

    async def create(ctx: Context) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(1)
        running -= 1

    bench.acme.on_create = create
    async with bench.engine(limits=ConnectorLimits(concurrency=3)) as engine, anyio.create_task_group() as callers:
        for number in range(10):
            callers.start_soon(engine.create, create_request(prefix=f"s3://{number}/n0/0"))
    assert most == 3
    assert len(bench.acme.keys) == 10


async def test_a_create_waits_for_its_turn_until_its_deadline_s_margin(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(50)
    async with bench.engine(limits=ConnectorLimits(concurrency=1)) as engine:
        first = asyncio.create_task(engine.create(create_request(prefix="s3://1/n0/0", caller=in_seconds(60))))
        await anyio.lowlevel.checkpoint()
        with pytest.raises(AdmissionRefused):
            await engine.create(create_request(prefix="s3://2/n0/0", caller=in_seconds(10)))
        assert asyncio.get_running_loop().time() == pytest.approx(9.5)
        await first
    assert len(bench.acme.keys) == 1


async def test_a_full_queue_refuses_at_once(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(2)
    async with bench.engine(limits=ConnectorLimits(concurrency=1, queue=1)) as engine:
        requests = [create_request(prefix=f"s3://{number}/n0/0") for number in range(2)]
        calls = [asyncio.create_task(engine.create(request)) for request in requests]
        await anyio.sleep(1)
        with pytest.raises(AdmissionRefused):
            await engine.create(create_request(prefix="s3://3/n0/0"))
        assert asyncio.get_running_loop().time() == pytest.approx(1)
        await asyncio.gather(*calls)


async def all_can_run_at_once(bench: Bench, engine: Engine, count: int) -> bool:
    """Whether ``count`` creates get their slots together."""
    together = 0
    met = anyio.Event()

    async def create(ctx: Context) -> None:
        nonlocal together
        together += 1
        if together == count:
            met.set()
        with anyio.move_on_after(5):
            await met.wait()

    bench.acme.on_create = create
    async with anyio.create_task_group() as callers:
        for number in range(count):
            callers.start_soon(engine.create, create_request(prefix=f"s3://together/{number}/0"))
    return met.is_set()


async def test_one_who_joins_after_waiting_gives_its_slot_back(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(2)
    async with bench.engine(limits=ConnectorLimits(concurrency=2)) as engine:
        async with anyio.create_task_group() as callers:
            for prefix in ("s3://a", "s3://b", "s3://same", "s3://same"):
                callers.start_soon(engine.create, create_request(prefix=prefix))
        assert len(bench.acme.keys) == 3
        assert await all_can_run_at_once(bench, engine, 2)


async def test_one_who_gave_up_waiting_leaves_the_queue(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(50)
    async with bench.engine(limits=ConnectorLimits(concurrency=1, queue=1)) as engine:
        first = asyncio.create_task(engine.create(create_request(prefix="s3://1/n0/0", caller=in_seconds(60))))
        for number in (2, 3):
            await anyio.lowlevel.checkpoint()
            with pytest.raises(AdmissionRefused, match="in time"):
                await engine.create(create_request(prefix=f"s3://{number}/n0/0", caller=in_seconds(5)))
        await first


async def test_one_who_gave_up_waiting_for_the_server_gives_the_connector_s_slot_back(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(20)
    async with bench.engine(concurrency=1, limits=ConnectorLimits(concurrency=1)) as engine:
        first = asyncio.create_task(engine.create(create_request(caller=in_seconds(60))))
        await anyio.lowlevel.checkpoint()
        with pytest.raises(AdmissionRefused):
            await engine.do(create_request("echo", caller=in_seconds(5)))
        await first
        assert (await engine.do(create_request("echo", caller=in_seconds(5)))).phase is Phase.SUCCEEDED
