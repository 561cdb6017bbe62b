"""What both services go through: the chaos suite's own scenarios, at sizes and speeds that real time allows.

None of it judges. A row of the table counts tasks and the platform's jobs, never status codes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reference.services import MakeArena
from connectors.client import CallFailed
from connectors.testing.backend import ClientTransport, Connect, Fate
from connectors.testing.platform import FakePlatform, Fault
from tests.chaos.arena import Arena
from tests.chaos.callers import callers_give_up, lost_replies, same_names_again
from tests.chaos.creates import identical_creates
from tests.chaos.flyte_stubs import FlyteStubs
from tests.chaos.outages import platform_outage, rolling_restart

__all__ = ["SCENARIOS", "Counts", "Scenario"]


@dataclass(frozen=True)
class Counts:
    """What one service made of a scenario."""

    tasks: int
    """That were run; each wants one job."""
    failed: int
    """Of them: failed for good, or show RUNNING for ever."""
    jobs: int
    """That the platform ever made for them."""
    doubled: int
    """Tasks that had two or more jobs running at once."""
    orphans: int
    """Jobs whose result no task took, and that nobody asked to end."""


@dataclass(frozen=True)
class Scenario:
    """Something that happens to a service. ``play`` returns the fates by the row that they belong to."""

    name: str
    """For ``--only``."""
    play: Callable[[Arena], Awaitable[Mapping[str, Sequence[Fate]]]]
    options: tuple[str, ...] = ()
    """This service's flags: what it waits for, made as short as the scenario."""
    connect: Connect = ClientTransport
    cancel_takes: float = 0.0
    """Seconds for which a cancelled job of the platform's runs on."""

    async def run(self, make: MakeArena, folder: Path, seed: int, scale: float) -> tuple[dict[str, Counts], float]:
        """Start the servers, play it, and end them: the counts by row, and the seconds that it took in all.

        :param folder: an empty one of its own.
        """
        began = time.monotonic()
        platform = FakePlatform(seed=seed, cancel_takes=self.cancel_takes)
        async with make(
            folder, seed, options=self.options, platform=platform, scale=scale, connect=self.connect
        ) as arena:
            rows = await self.play(arena)
            counts = {name: _counted(fates, platform) for name, fates in rows.items()}
        return counts, time.monotonic() - began


def _counted(fates: Sequence[Fate], platform: FakePlatform) -> Counts:
    tasks = {fate.task.output_prefix("flyte1").rpartition("/")[0] for fate in fates}
    taken = {str(fate.outputs["o0"]) for fate in fates if fate.outcome == "succeeded" and fate.outputs}
    jobs = [job for job in platform.jobs() if job.task in tasks]
    return Counts(
        tasks=len(fates),
        failed=sum(fate.outcome in {"failed", "stuck"} for fate in fates),
        jobs=len(jobs),
        doubled=sum(most > 1 for task, most in platform.at_once().items() if task in tasks),
        orphans=sum(job.id not in taken and job.cancelled_at is None for job in jobs),
    )


# --- the scenarios


async def _identical(arena: Arena) -> dict[str, Sequence[Fate]]:
    account = await identical_creates(arena)
    return {f"{arena.times(64)} identical creates at once, and the task's own": account.fates}


class _RepeatedCreates(ClientTransport):
    """A create is sent again until it is answered, as by a backend that keeps its queue."""

    async def create(self, *task: Any, **more: Any) -> bytes:
        """CreateTask."""
        while True:
            try:
                return await super().create(*task, **more)
            except CallFailed:
                await asyncio.sleep(0.1)


async def _kills(arena: Arena) -> dict[str, Sequence[Fate]]:
    """The platform takes a second, so that a server that is killed has creates in flight. The next is killed when both
    serve again.
    """
    chance = arena.chance("kills")
    arena.platform.set_fault(Fault("slow", ("submit",), delay=1.0))
    tasks = arena.tasks(arena.times(300), custom={"duration": 1.0})
    kills = arena.times(5)

    async def kill_some() -> None:
        for _ in range(kills):
            for server in arena.servers:
                await server.ready()
            await asyncio.sleep(chance.uniform(1.0, 3.0))
            await chance.choice(arena.servers).kill_and_start()

    async with arena.backend(poll_interval=1.0, workers=32) as backend, asyncio.TaskGroup() as group:
        group.create_task(kill_some())
        fates = await backend.run(tasks, spread=6.0 * kills)
    for server in arena.servers:
        await server.ready()
    return {f"`kill -9` of a server, {kills} times; creates are sent until they are answered": fates}


async def _lost(arena: Arena) -> dict[str, Sequence[Fate]]:
    account = await lost_replies(arena, cycles=500)
    return {"the platform loses 30 % of its answers; users abort their tasks": account.fates}


async def _given_up(arena: Arena) -> dict[str, Sequence[Fate]]:
    """This service looks for orphans every half minute, and jobs run for longer than that."""
    account = await callers_give_up(arena, duration=45.0)
    half = len(account.fates) // 2
    return {
        "callers give up on half of the creates; tasks have 2 retries": account.fates[:half],
        "callers give up on every create; tasks have no retry, so that all fail": account.fates[half:],
    }


async def _same_names(arena: Arena) -> dict[str, Sequence[Fate]]:
    account = await same_names_again(arena, after=2.5)
    return {"tasks that ended run again under the same names": account.fates}


async def _outage(arena: Arena) -> dict[str, Sequence[Fate]]:
    """Thirty times as fast as in life: polls come every second, and jobs run for fourteen."""
    account = await platform_outage(arena, Fault("answer", status=503, seconds=10.0), pace=1 / 30)
    return {"the platform answers 503 for as long as ten polls": account.fates}


async def _rollout(arena: Arena) -> dict[str, Sequence[Fate]]:
    """The platform takes half a second, so that a server that is told to end has creates in flight."""
    arena.platform.set_fault(Fault("slow", ("submit",), delay=0.5))
    account = await rolling_restart(arena, every=0.1, rounds=2)
    return {"two rolling restarts under load, by SIGTERM": account.fates}


SCENARIOS = (
    Scenario("identical", _identical),
    Scenario("kills", _kills, ("--lease=2",), connect=_RepeatedCreates),
    Scenario("lost", _lost, ("--connector-retry-budget=1000",)),
    Scenario("given-up", _given_up, ("--orphan-after=2",), cancel_takes=1.0),
    Scenario("same-names", _same_names, ("--rerun-after=1",)),
    Scenario("outage", _outage),
    Scenario("rollout", _rollout, connect=FlyteStubs),
)
