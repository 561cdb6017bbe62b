"""Connectors whose calls are worth looking at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from connectors import (
    AsyncConnectorBase,
    Context,
    Phase,
    Resource,
    ResourceMeta,
    SyncConnectorBase,
    TaskLog,
    TaskTemplate,
    Unavailable,
)
from connectors.http import HttpClient
from connectors.models import Identifier, TaskExecutionId, TaskExecutionMetadata

__all__ = ["NOT_STARTED", "Broken", "Job", "Slow", "Warehouse", "run"]

NOT_STARTED = "no <b>endpoint</b> is set"


@dataclass(frozen=True)
class Job(ResourceMeta):
    name: str


class Warehouse(AsyncConnectorBase[Job]):
    """Its answers are those that a test gives it."""

    task_type = "warehouse_query"

    def __init__(self) -> None:
        super().__init__()
        self.fault = ""
        self.refusal: Exception | None = None
        self.link = "https://warehouse.example/jobs/j1?tab=plan&x=1"
        self.phase = Phase.RUNNING
        self.jobs = 0

    async def create(self, task: TaskTemplate, ctx: Context) -> Job:
        if self.refusal is not None:
            raise self.refusal
        self.jobs += 1
        return Job(f"j{self.jobs}")

    async def get(self, job: Job, ctx: Context) -> Resource:
        if self.fault:
            raise Unavailable(self.fault)
        return Resource(self.phase, log_links=(TaskLog(self.link, "Console"),))

    async def delete(self, job: Job, ctx: Context) -> None:
        pass


class Slow(SyncConnectorBase):
    """Its calls are in flight until they are let go."""

    task_type = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        await self.go_on.wait()
        return Resource(Phase.SUCCEEDED)


class Broken(SyncConnectorBase):
    """Loads, and cannot be started."""

    task_type = "broken"

    async def start(self, http: HttpClient) -> None:
        raise ValueError(NOT_STARTED)

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        return Resource(Phase.SUCCEEDED)


def run(execution: str, node: str = "n0") -> TaskExecutionMetadata:
    """Where a call comes from."""
    task = Identifier("flytesnacks", "development", "queries.top", "v1", resource_type="TASK")
    return TaskExecutionMetadata(TaskExecutionId(task, "flytesnacks", "development", execution, node_id=node))
