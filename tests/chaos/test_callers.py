"""What is lost, given up or started again by those whom the service stands between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.testing.backend import Protocol
from connectors.testing.platform import FakePlatform
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.chaos.arena import Arena
from tests.chaos.callers import callers_give_up, lost_replies, same_names_again
from tests.chaos.conftest import SCALE, SEED, MakeArena, Report
from tests.chaos.in_process import server_in_process

pytestmark = pytest.mark.anyio


async def test_replies_that_are_lost_after_the_platform_committed_cost_no_task_and_make_no_second_job(
    make_arena: MakeArena, report: Report, tmp_path: Path
) -> None:
    # the retries of a quiet day are not enough for a platform that loses every third reply
    async with make_arena(f"sqlite://{tmp_path}/chaos.db", "--connector-retry-budget=1000") as arena:
        account = await lost_replies(arena)
        report(account)
    assert account.failed_calls == ()
    assert account.outcomes == {"aborted": arena.times(500)}
    assert {fate.reason for fate in account.fates} == {"its user aborted it"}
    assert (account.jobs, account.most_jobs) == (arena.times(500), 1)
    assert account.live == 0
    assert account.notes["lost"] > arena.times(500)


@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_callers_that_give_up_leave_no_second_job_running_and_no_orphan(
    make_arena: MakeArena, report: Report, tmp_path: Path, protocol: Protocol
) -> None:
    task_types = ("platform_native", "platform_native_prefix", "platform_search", "platform_search_prefix")
    platform = FakePlatform(seed=SEED, cancel_takes=1.0)
    async with make_arena(
        f"sqlite://{tmp_path}/chaos.db", "--orphan-after=2", platform=platform, task_types=task_types, protocol=protocol
    ) as arena:
        account = await callers_give_up(arena)
        report(account)
    count = arena.times(24)
    retried, abandoned = account.fates[:count], account.fates[count:]
    for fate in retried:
        given_up = {call.result for call in fate.calls if call.operation == "create"} == {"GIVEN_UP"}
        assert fate.outcome == ("failed" if given_up else "succeeded"), fate
    assert {fate.outcome for fate in abandoned} == {"failed"}
    assert account.most_at_once == 1
    assert account.live == 0


async def test_tasks_that_are_started_again_under_their_names_run_again(
    make_arena: MakeArena, report: Report, tmp_path: Path
) -> None:
    async with make_arena(f"sqlite://{tmp_path}/chaos.db", "--rerun-after=1", protocol="flyte2") as arena:
        account = await same_names_again(arena, after=2.5)
        report(account)
    assert account.failed_calls == ()
    assert account.outcomes == {"succeeded": 2 * arena.times(20)}
    assert set(account.jobs_by_task.values()) == {2}
    assert account.notes["shared"] == 0


class TestInVirtualTime:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"loop_factory": VirtualTimeLoop}

    @pytest.fixture
    async def arena(self, anyio_backend: Any) -> AsyncIterator[Arena]:
        async with (
            FakePlatform(seed=SEED) as platform,
            server_in_process(platform, store_retention=7_201, rerun_after=7_200) as server,
        ):
            yield Arena([server], platform, SEED, SCALE, protocol="flyte2")

    async def test_a_run_whose_record_expired_is_not_given_the_old_job_that_the_platform_still_holds(
        self, arena: Arena, report: Report
    ) -> None:
        account = await same_names_again(arena, after=7_200 + 300, age=7_200 + 300)
        report(account)
        assert account.failed_calls == ()
        assert account.outcomes == {"succeeded": 2 * arena.times(20)}
        assert set(account.jobs_by_task.values()) == {2}
        assert account.notes["shared"] == 0
