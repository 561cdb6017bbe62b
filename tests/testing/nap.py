"""A connector whose platform is the event loop's clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from connectors import AsyncConnectorBase, Context, HttpClient, Phase, Resource, ResourceMeta, TaskTemplate

__all__ = ["Nap", "NapConnector"]


@dataclass(frozen=True)
class Nap(ResourceMeta):
    ends_at: float


class NapConnector(AsyncConnectorBase[Nap]):
    """Notes what it is called for, polls left out."""

    task_type = "nap"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def start(self, http: HttpClient) -> None:
        self.calls.append("start")

    async def aclose(self) -> None:
        self.calls.append("aclose")

    async def create(self, task: TaskTemplate, ctx: Context) -> Nap:
        self.calls.append("create")
        return Nap(asyncio.get_running_loop().time() + float(ctx.inputs["seconds"]))

    async def get(self, job: Nap, ctx: Context) -> Resource:
        if asyncio.get_running_loop().time() < job.ends_at:
            return Resource(Phase.RUNNING)
        return Resource(Phase.SUCCEEDED, outputs={"slept": True})

    async def delete(self, job: Nap, ctx: Context) -> None:
        self.calls.append("delete")
