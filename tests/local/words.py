"""Connectors without a platform."""

from __future__ import annotations

from dataclasses import dataclass

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

__all__ = ["Echo", "Silent"]


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

    task_type = "silent"

    async def create(self, task: TaskTemplate, ctx: Context) -> SilentJob:
        return SilentJob(task.container.args if task.container else ())

    async def get(self, job: SilentJob, ctx: Context) -> Resource:
        return Resource(Phase.SUCCEEDED)

    async def delete(self, job: SilentJob, ctx: Context) -> None:
        pass
