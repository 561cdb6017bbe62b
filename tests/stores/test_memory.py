from __future__ import annotations

import asyncio

from connectors._stores import open_store
from tests.virtual_time import VirtualTimeLoop


def test_the_clock_is_the_event_loops() -> None:
    async def run() -> tuple[bool, bool]:
        store = open_store("memory://")
        await store.start()
        await store.reserve("k", owner="a", lease=3_600.0, task_type="t")
        await asyncio.sleep(3_599.0)
        early = await store.reserve("k", owner="b", lease=1.0, task_type="t")
        await asyncio.sleep(1.5)
        late = await store.reserve("k", owner="b", lease=1.0, task_type="t")
        return early.mine, late.mine

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run()) == (False, True)
