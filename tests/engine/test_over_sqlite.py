"""The same promises over a real SQLite file, whose every access gives other calls their turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from connectors import Phase, Resource
from connectors._engine.requests import Caller
from connectors._stores.sqlite import SqliteStore
from tests.engine.harness import Bench, create_request, job_request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The store's thread keeps real time."""
    return "asyncio"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = SqliteStore(tmp_path / "store.db")
    await store.start()
    yield Bench(store=store)
    await store.aclose()


@pytest.mark.parametrize("task_type", ["acme", "echo"])
async def test_64_identical_creates_over_two_servers_run_once(bench: Bench, task_type: str) -> None:
    request = create_request(task_type, caller=Caller("flyte2"))
    metas: list[bytes] = []
    async with bench.engine() as one, bench.engine() as two:
        async with anyio.create_task_group() as callers:

            async def call(number: int) -> None:
                metas.append(await (one, two)[number % 2].create(request))

            for number in range(64):
                callers.start_soon(call, number)
        await one.drain()
        await two.drain()
    assert len(metas) == 64
    assert len(set(metas)) == 1
    assert len(bench.acme.keys) + bench.echo.calls == 1


async def test_16_polls_of_a_job_whose_server_died_run_it_once(bench: Bench) -> None:
    bench.echo.on_do = lambda ctx: anyio.sleep_forever()
    caller = Caller("flyte2")
    async with bench.engine() as one:
        meta = await one.create(create_request("echo", caller=caller))
    bench.echo.calls = 0
    bench.echo.on_do = lambda ctx: Resource(Phase.SUCCEEDED)
    async with bench.engine() as two:
        async with anyio.create_task_group() as callers:
            for _ in range(16):
                callers.start_soon(two.get, job_request(meta, "echo", caller))
        await two.drain()
        assert (await two.get(job_request(meta, "echo", caller))).phase is Phase.SUCCEEDED
    assert bench.echo.calls == 1
