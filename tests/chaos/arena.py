"""Where a scenario takes place: the servers, the platform, the backend's settings, the size and the seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connectors import TaskTemplate
from connectors.testing.backend import (
    Backend,
    BackendTask,
    Call,
    ClientTransport,
    Connect,
    Fate,
    Protocol,
    distinct_tasks,
)
from connectors.testing.platform import FakePlatform
from tests.chaos.servers import ServerUnderTest

__all__ = ["Account", "Arena"]


@dataclass(frozen=True)
class Account:
    """What came of a scenario. It judges nothing: that is its test's part."""

    fates: tuple[Fate, ...] = field(repr=False)
    """Of every run of a task, in order."""
    jobs: int
    """That the platform ever made."""
    jobs_by_task: Mapping[str, int] = field(repr=False)
    most_at_once: int
    """Jobs of one task that ran at the same time, at the most."""
    live: int
    """Jobs that still run."""
    seconds: float
    """That it took, on the event loop's clock."""
    notes: Mapping[str, float] = field(default_factory=dict)
    """What else there is to count, by name."""

    @property
    def outcomes(self) -> dict[str, int]:
        """How many tasks ended how."""
        return dict(Counter(fate.outcome for fate in self.fates))

    @property
    def failed_calls(self) -> tuple[Call, ...]:
        """Those that failed, or were not waited for."""
        return tuple(call for fate in self.fates for call in fate.failed_calls)

    @property
    def most_jobs(self) -> int:
        """Jobs of one task, at the most."""
        return max(self.jobs_by_task.values(), default=0)

    def __str__(self) -> str:
        """One line for people."""
        counts = {"jobs": self.jobs, **self.outcomes, "failed calls": len(self.failed_calls), **self.notes}
        told = ", ".join(f"{value:g} {name}" for name, value in counts.items())
        return f"{told}; {self.seconds:.1f} s"


@dataclass(frozen=True)
class Arena:
    """What a scenario is given."""

    servers: Sequence[ServerUnderTest]
    platform: FakePlatform
    seed: int
    """Of everything that is drawn: who is killed and when, which answers are lost. The same seed, the same plan."""
    scale: float = 1.0
    """How large it is: 1 in the test suite."""
    task_types: Sequence[str] = ("platform_native", "platform_search")
    """Tasks are of these in turn."""
    protocol: Protocol = "flyte1"
    connect: Connect = ClientTransport

    def of(self, *task_types: str) -> Arena:
        """The same with tasks of these types alone."""
        return replace(self, task_types=task_types)

    def times(self, number: float) -> int:
        """A number at this size; 1 at least."""
        return max(1, round(number * self.scale))

    def chance(self, what: str) -> random.Random:
        """Draws for one purpose: they do not depend on what else is drawn, or when."""
        return random.Random(f"{self.seed}/{what}")

    def tasks(self, count: int, *, execution: str = "run", custom: Mapping[str, Any], **more: Any) -> list[BackendTask]:
        """That many tasks of different executions. ``custom`` is the platform's: ``duration`` …"""
        named = distinct_tasks(count, TaskTemplate("any"), execution=execution, **more)
        types = [self.task_types[number % len(self.task_types)] for number in range(count)]
        return [
            replace(task, template=TaskTemplate(each, custom=custom)) for task, each in zip(named, types, strict=True)
        ]

    def backend(self, servers: Sequence[ServerUnderTest] | None = None, **options: Any) -> Backend:
        """One that calls all servers in turn, or only these."""
        addresses = [server.address for server in servers or self.servers]
        return Backend(addresses, protocol=self.protocol, connect=self.connect, seed=self.seed, **options)

    def account(self, fates: Sequence[Fate], *, since: float, **notes: float) -> Account:
        """What the platform holds now, and these fates. :param since: when the scenario began, on the loop's clock."""
        jobs = self.platform.jobs()
        return Account(
            fates=tuple(fates),
            jobs=len(jobs),
            jobs_by_task=self.platform.by_task(),
            most_at_once=max(self.platform.at_once().values(), default=0),
            live=sum(job.is_live for job in jobs),
            seconds=asyncio.get_running_loop().time() - since,
            notes={name.replace("_", " "): value for name, value in notes.items()},
        )
