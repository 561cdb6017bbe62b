"""Connectors without a platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from connectors import (
    AsyncConnectorBase,
    Context,
    Phase,
    Resource,
    ResourceError,
    ResourceMeta,
    SyncConnectorBase,
    TaskTemplate,
)

__all__ = ["Buggy", "Echo", "Silent", "Talkative"]


class Echo(SyncConnectorBase):
    """Gives its input ``v`` back as ``o0``, or fails as its custom says. Its method is a plain ``def``."""

    task_type = "echo"

    def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        if "fails" in task.custom:
            phase = Phase[task.custom["fails"]]
            return Resource(phase, "as it was told", error=ResourceError("Told", origin="USER"))
        return Resource(Phase.SUCCEEDED, outputs={"o0": ctx.inputs["v"]})


@dataclass(frozen=True)
class SilentJob(ResourceMeta):
    args: tuple[str, ...] = ()


class Silent(AsyncConnectorBase[SilentJob]):
    """Its jobs are done at once and bring no outputs; a meta holds the container's arguments."""

    task_type: ClassVar[str] = "silent"

    async def create(self, task: TaskTemplate, ctx: Context) -> SilentJob:
        return SilentJob(task.container.args if task.container else ())

    async def get(self, job: SilentJob, ctx: Context) -> Resource:
        return Resource(Phase.SUCCEEDED)

    async def delete(self, job: SilentJob, ctx: Context) -> None:
        pass


class Talkative(Silent):
    """Its jobs' outputs are of types that only Python has."""

    task_type = "talkative"

    async def get(self, job: SilentJob, ctx: Context) -> Resource:
        return Resource(Phase.SUCCEEDED, outputs={"job": job, "pair": (1, "a"), "none": None})


class Buggy(Silent):
    """Asking for its jobs raises what nobody meant to."""

    task_type = "buggy"

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[SilentJob] = []

    async def get(self, job: SilentJob, ctx: Context) -> Resource:
        raise ZeroDivisionError

    async def delete(self, job: SilentJob, ctx: Context) -> None:
        self.deleted.append(job)
