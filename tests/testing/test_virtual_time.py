"""Virtual time: timers pass at once and in order, and wait for threads and for sockets on the same loop."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from connectors import TaskTemplate
from connectors.testing.backend import Backend, distinct_tasks
from connectors.testing.server import ConnectorServer
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.testing.nap import NapConnector

pytestmark = pytest.mark.anyio  # on virtual time: the folder's own fixture


async def test_the_clock_begins_at_nothing() -> None:
    loop = VirtualTimeLoop()
    try:
        assert loop.time() == 0
    finally:
        loop.close()


async def test_a_day_passes_at_once() -> None:
    began, at = time.monotonic(), asyncio.get_running_loop().time()
    await asyncio.sleep(86_400)
    assert asyncio.get_running_loop().time() - at == pytest.approx(86_400)
    assert time.monotonic() - began < 10


async def test_timers_come_in_their_order() -> None:
    woken = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    await asyncio.gather(*(sleeper(seconds) for seconds in (30, 10, 3600, 20)))
    assert woken == [10, 20, 30, 3600]


async def test_time_stands_still_while_a_thread_of_the_loop_is_at_work() -> None:
    go_on = threading.Event()
    loop = asyncio.get_running_loop()
    began = loop.time()
    timeout = loop.call_later(60, lambda: None)
    threading.Timer(0.05, go_on.set).start()
    assert await asyncio.to_thread(go_on.wait, 30)
    timeout.cancel()
    assert loop.time() == began


async def test_time_stands_still_while_it_is_told_to() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    began, called = loop.time(), asyncio.Event()
    with loop.standing_still():
        threading.Timer(0.05, loop.call_soon_threadsafe, (called.set,)).start()
        async with asyncio.timeout(60):
            await called.wait()
    assert loop.time() == began


async def test_a_job_of_hours_takes_no_time_where_time_is_virtual() -> None:
    async with ConnectorServer(NapConnector()) as server, Backend([server.address], poll_interval=30) as backend:
        began = asyncio.get_running_loop().time()
        fates = await backend.run(distinct_tasks(1, TaskTemplate("nap"), inputs={"seconds": 7200}))
    assert [fate.outcome for fate in fates] == ["succeeded"]
    assert 7200 <= asyncio.get_running_loop().time() - began < 7500
