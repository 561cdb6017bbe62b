"""No task is lost to what goes away for a while: the platform, a server, the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.testing.backend import Protocol
from connectors.testing.platform import FakePlatform, Fault
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.chaos.arena import Arena
from tests.chaos.conftest import SCALE, SEED, MakeArena, Report
from tests.chaos.flyte_stubs import FlyteStubs
from tests.chaos.in_process import server_in_process
from tests.chaos.outages import platform_outage, rolling_restart, store_outage
from tests.chaos.places import StoreName, place
from tests.chaos.servers import ServiceProcess

pytestmark = pytest.mark.anyio

_PATIENCE = 60.0  # seconds


class TestOfThePlatform:
    """In virtual time: most of it is waiting."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"loop_factory": VirtualTimeLoop}

    @pytest.mark.parametrize(
        ("fault", "protocol"),
        [
            (Fault("answer", status=503, seconds=300), "flyte1"),
            (Fault("answer", status=429, retry_after="30", seconds=300), "flyte2"),
            (Fault("answer", status=401, seconds=300), "flyte1"),
            (Fault("hang", seconds=300), "flyte2"),
        ],
        ids=["503", "429", "401", "no answer"],
    )
    async def test_five_minutes_of_it_in_the_middle_of_100_running_tasks_cost_none(
        self, report: Report, fault: Fault, protocol: Protocol
    ) -> None:
        async with FakePlatform(seed=SEED) as platform, server_in_process(platform) as server:
            account = await platform_outage(Arena([server], platform, SEED, SCALE, protocol=protocol), fault)
            report(account)
        assert account.failed_calls == ()
        assert account.outcomes == {"succeeded": round(100 * SCALE)}
        assert (account.jobs, account.most_jobs) == (round(100 * SCALE), 1)
        assert account.notes["met"] > 100  # no answer keeps all that may be asked at once busy, however many tasks


async def test_a_rolling_restart_under_load_costs_callers_without_retries_no_call(
    make_arena: MakeArena, report: Report, tmp_path: Path
) -> None:
    async with make_arena(f"sqlite://{tmp_path}/chaos.db", connect=FlyteStubs) as arena:
        account = await rolling_restart(arena)
        report(account)
    assert (account.notes["restarts"], account.notes["bad exit codes"]) == (2 * arena.times(1), 0)
    assert account.failed_calls == ()
    assert account.outcomes == {"succeeded": len(account.fates)}
    assert len(account.fates) >= arena.times(50)
    assert (account.jobs, account.most_jobs) == (len(account.fates), 1)


@pytest.mark.parametrize("store", ["redis", "postgresql"])
async def test_a_store_that_is_killed_and_started_again_under_load_costs_no_task(
    make_arena: MakeArena, report: Report, tmp_path: Path, store: StoreName
) -> None:
    with place(store, tmp_path) as held:
        async with make_arena(held.url, "--orphan-after=2") as arena:
            assert held.server is not None
            server, services = held.server, [each for each in arena.servers if isinstance(each, ServiceProcess)]

            async def kill() -> None:
                await asyncio.to_thread(server.kill)

            async def start() -> None:
                await asyncio.to_thread(server.start)

            async def degraded() -> None:
                for each in services:
                    await _until_ready_says(each, lambda text: text.startswith("degraded: "))

            async def ready() -> None:
                for each in services:
                    await _until_ready_says(each, lambda text: text == "ready\n")

            account = await store_outage(arena, kill=kill, start=start, during=degraded, after=ready)
            report(account)
            reaped = sum(each.logged(operation="reap_lost") + each.logged(operation="reap") for each in services)
    assert account.failed_calls == ()
    assert account.outcomes == {"succeeded": len(account.fates)}
    assert len(account.fates) >= arena.times(25)
    assert (account.jobs, account.most_jobs) == (len(account.fates), 1)
    # where the platform dedupes, a create goes on without the store; where it has to be searched, it waits for it
    assert account.notes["longest platform native"] < account.notes["longest platform search"]
    assert account.notes["longest platform search"] > 1
    assert reaped == 0
    assert all(each.starts == 1 for each in services)


async def _until_ready_says(server: ServiceProcess, is_it: Callable[[str], bool]) -> None:
    async with asyncio.timeout(_PATIENCE):
        while True:
            status, text = await server.readiness()
            assert status == 200
            if is_it(text):
                return
            await asyncio.sleep(0.1)
