"""What the platform may hold: the jobs of each run, told apart by what their backends and the store know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from connectors._engine.options import EngineOptions
from tests.engine.job_platform import Platform, PlatformJob

ORPHAN_AFTER = EngineOptions().orphan_after


@dataclass
class Task:
    """What its backend knows of one run of a name."""

    name: str
    run: int = 0
    """How often the name was run before."""
    attempt: int = 0
    begun: bool = False
    """Whether a create of this run was ever sent."""
    meta: bytes | None = None
    """Of this attempt's job, once heard."""
    heard: set[str] = field(default_factory=set)
    """Jobs of this run whose meta arrived, also where it came too late."""
    asked: dict[str, int] = field(default_factory=dict)
    """Those that were polled, and the store was told; and by which attempt first."""
    after_expiry: bool = False
    """Whether the platform may hold jobs of earlier runs that have no records any more."""
    in_doubt: bool = False
    """Whether a create of this run may have ended with no proof of what it did."""
    ended_at: float | None = None
    """When the job's end was delivered."""
    deleted: bool = False
    given_up: bool = False
    """Its backend gave it up for good, and tells nobody."""

    @property
    def over(self) -> bool:
        return self.ended_at is not None or self.deleted or self.given_up

    @property
    def prefix(self) -> str:
        return f"s3://b/{self.name}/n0/{self.attempt}"


def task_of(prefix: str) -> str:
    return prefix.split("/")[3]


def attempt_of(prefix: str) -> int:
    return int(prefix.rpartition("/")[2])


class Jobs:
    """Looks at each job when the platform makes it."""

    def __init__(
        self,
        platform: Platform,
        tasks: Mapping[str, Task],
        *,
        clock: Callable[[], float],
        may_be_made_without_the_store: Callable[[int], bool],
    ) -> None:
        """:param clock: seconds. :param may_be_made_without_the_store: told an attempt's number."""
        self._platform = platform
        self._tasks = tasks
        self._clock = clock
        self._may_be_made_without_the_store = may_be_made_without_the_store
        self.run_of: dict[str, int] = {}
        """By job: the run of its task that it was made in."""
        self._made_at: dict[str, float] = {}
        self.untold: set[str] = set()
        """Jobs that the store may not know of: made without it. Until it does, no other server does."""
        self.faults: list[str] = []
        platform.on_submit = self._submitted

    def _submitted(self, job: PlatformJob) -> None:
        task = self._tasks[task_of(job.prefix)]
        self.run_of[job.name], self._made_at[job.name] = task.run, self._clock()
        if self._may_be_made_without_the_store(attempt_of(job.prefix)):
            self.untold.add(job.name)
        if beside := [each.name for each in self._of_all_runs(task) if each.runs and each is not job]:
            self.faults.append(f"{job.name} began while {beside} ran: jobs of the same task")
        mates = [each for each in self.of(task) if each.prefix == job.prefix and each is not job]
        if twins := [each.name for each in mates if not self._is_orphan(task, each)]:
            self.faults.append(f"{job.name} is of the same attempt as {twins}")

    def of(self, task: Task) -> list[PlatformJob]:
        """Those of its current run that somebody may know of."""
        return [job for job in self._of_all_runs(task) if self.run_of[job.name] == task.run]

    def _of_all_runs(self, task: Task) -> list[PlatformJob]:
        jobs = [job for job in self._platform.jobs if task_of(job.prefix) == task.name]
        return [job for job in jobs if job.name not in self.untold]

    def _is_orphan(self, task: Task, job: PlatformJob) -> bool:
        """Whether it is over, and nobody had heard of it for so long that it was to be cancelled: the next create of
        its attempt is a new run.
        """
        is_old = self._clock() - self._made_at[job.name] >= ORPHAN_AFTER
        return is_old and not job.runs and job.name not in task.heard
