"""A platform in a few lines, and connectors for it: what the engine's tests count jobs on. Its time is the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import anyio

from connectors import (
    AsyncConnectorBase,
    Context,
    KeyTaken,
    NotFound,
    Phase,
    Resource,
    ResourceMeta,
    TaskTemplate,
    Unavailable,
)


@dataclass
class PlatformJob:
    name: str
    key: str
    prefix: str
    phase: Phase = Phase.RUNNING
    age: timedelta = timedelta()

    @property
    def runs(self) -> bool:
        return not self.phase.is_terminal


@dataclass
class Platform:
    """Jobs by name. A test sets what goes wrong."""

    dedupes: bool = True
    jobs: list[PlatformJob] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    latency: float = 0.0
    lose_answers: int = 0
    """So many submits are carried out and their answers lost."""
    down: bool = False
    tells_ages: bool = True
    on_submit: Callable[[PlatformJob], None] = lambda job: None
    on_get: Callable[[], Awaitable[object]] | None = None

    @property
    def running(self) -> list[str]:
        return [job.name for job in self.jobs if job.runs]

    def under(self, key: str) -> list[PlatformJob]:
        return [job for job in self.jobs if job.key == key]

    def job(self, name: str) -> PlatformJob:
        found = [job for job in self.jobs if job.name == name]
        if not found:
            raise NotFound(f"there is no job {name}")
        return found[0]

    def end(self, name: str, phase: Phase = Phase.SUCCEEDED) -> None:
        self.job(name).phase = phase

    async def submit(self, key: str, prefix: str) -> tuple[PlatformJob, bool]:
        """The job, and whether it was there already."""
        await anyio.sleep(self.latency)
        self._reach()
        found = self.under(key) if self.dedupes else []
        job = found[0] if found else PlatformJob(f"job{len(self.jobs)}", key, prefix)
        if not found:
            self.jobs.append(job)
            self.on_submit(job)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("the answer was lost")
        return job, bool(found)

    def search(self, key: str) -> PlatformJob | None:
        self._reach()
        return next(iter(self.under(key)), None)

    def cancel(self, name: str) -> None:
        self._reach()
        job = self.job(name)
        if job.runs:
            job.phase = Phase.FAILED
            self.cancelled.append(name)

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("the platform is down")


@dataclass(frozen=True)
class JobMeta(ResourceMeta):
    name: str


class JobConnector(AsyncConnectorBase[JobMeta]):
    """As an author would write it for such a platform."""

    task_type = "jobs"

    def __init__(
        self, platform: Platform, dedupe: Literal["native", "search", "none"] = "native", *, inline: bool = False
    ) -> None:
        super().__init__()
        self.platform = platform
        self.dedupe = dedupe  # type: ignore[misc]  # a class's own, but for these tests
        self.results_inline = inline  # type: ignore[misc]
        platform.dedupes = dedupe == "native"

    async def create(self, task: TaskTemplate, ctx: Context) -> JobMeta:
        key = ctx.idempotency_key
        found = self.platform.search(key) if self.dedupe == "search" else None
        if found is None:
            job, was_there = await self.platform.submit(key, ctx.output_prefix)
            found = job if was_there else None
        else:
            job = found
        created = datetime.now(UTC) - job.age if self.platform.tells_ages else None
        if found is not None and not ctx.may_adopt(created):
            raise KeyTaken(f"{found.name} is an earlier run's")
        return JobMeta(job.name)

    async def get(self, job: JobMeta, ctx: Context) -> Resource:
        self.platform._reach()
        phase = self.platform.job(job.name).phase
        if self.platform.on_get is not None:
            await self.platform.on_get()
        return Resource(phase)

    async def delete(self, job: JobMeta, ctx: Context) -> None:
        self.platform.cancel(job.name)


def name_of(meta: bytes) -> str:
    return JobMeta.decode(meta).name


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
