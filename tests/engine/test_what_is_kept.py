"""What the engine still holds of jobs that are over: nothing but the shield's bounded memory of their ends."""

from __future__ import annotations

import asyncio
import gc
import types
from typing import Any

import anyio
import pytest

from connectors import Phase, Unavailable
from connectors._engine.engine import Engine
from connectors._engine.shield import Shield
from connectors._stores import Store
from tests.engine.callers import being, hearing, job_of_attempt, raising
from tests.engine.harness import Acme, Bench, JsonForms, job_request

pytestmark = pytest.mark.anyio

JOBS = 50


def held(root: object) -> int:
    """How many objects ``root`` leads to, but by no class, module, event loop, store or shield, nor by what the tests
    watch by.
    """
    aside = (type, types.ModuleType, asyncio.AbstractEventLoop, Store, Shield, Bench, Acme, JsonForms)
    seen: dict[int, object] = {}
    ahead = [root]
    while ahead:
        each = ahead.pop()
        if id(each) in seen or isinstance(each, aside):
            continue
        seen[id(each)] = each
        # a function leads to its whole module: what it holds itself is its closure
        ahead.extend([each.__closure__] if isinstance(each, types.FunctionType) else gc.get_referents(each))
    return len(seen)


async def _poll(engine: Engine, meta: bytes) -> None:
    await engine.get(job_request(meta, caller=hearing(True)))


async def _delete(engine: Engine, meta: bytes) -> None:
    await engine.delete(job_request(meta))


async def _run(bench: Bench, engine: Engine, first: int, end: Any) -> int:
    for number in range(first, first + JOBS):
        bench.acme.on_get = being(Phase.RUNNING)
        meta = await job_of_attempt(engine, number)
        await _poll(engine, meta)
        bench.acme.on_get = raising(Unavailable())
        await _poll(engine, meta)
        bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 1})
        await end(engine, meta)
    await anyio.sleep(3_600)
    bench.events.clear()
    bench.facts.clear()
    gc.collect()
    return held(engine)


@pytest.mark.parametrize("end", [_poll, _delete])
async def test_the_engine_keeps_nothing_of_a_job_that_is_over(bench: Bench, end: Any) -> None:
    async with bench.engine() as engine:
        before = await _run(bench, engine, 0, end)
        assert await _run(bench, engine, JOBS, end) - before < JOBS
