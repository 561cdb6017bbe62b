"""The connections to platforms, which all connectors of a server share."""

from __future__ import annotations

import asyncio
from abc import ABC
from dataclasses import dataclass

import pytest

from connectors import AsyncConnectorBase, Context, Phase, Resource, ResourceMeta, TaskCategory, TaskTemplate
from connectors.testing.server import ConnectorServer

pytestmark = pytest.mark.anyio

CALLS = 256  # to one connector at once, by default


@dataclass(frozen=True)
class Job(ResourceMeta):
    number: int


class Platform:
    """Answers ``/quick`` at once, and nothing else until it is told."""

    def __init__(self) -> None:
        self.waiting = 0
        self.all_wait = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await reader.readuntil(b"\r\n\r\n")
        if not line.startswith(b"GET /quick"):
            self.waiting += 1
            if self.waiting == CALLS:
                self.all_wait.set()
            await self.goes_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


class Asking(AsyncConnectorBase[Job], ABC):
    """Asks for the path that its task type names."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = f"{url}/{self.task_type}"

    async def create(self, task: TaskTemplate, ctx: Context) -> Job:
        return Job(0)

    async def get(self, job: Job, ctx: Context) -> Resource:
        await ctx.http.request("GET", self._url)
        return Resource(Phase.SUCCEEDED)

    async def delete(self, job: Job, ctx: Context) -> None:
        pass


class Slow(Asking):
    task_type = "slow"


class Quick(Asking):
    task_type = "quick"


async def test_calls_that_wait_for_a_slow_platform_leave_another_its_connections() -> None:
    platform = Platform()
    listening = await asyncio.start_server(platform.answer, "127.0.0.1", 0, backlog=CALLS)
    host, port = listening.sockets[0].getsockname()
    url = f"http://{host}:{port}"
    async with (
        listening,
        ConnectorServer(Slow(url), Quick(url)) as server,
        server.client() as client,
    ):
        slow = [asyncio.create_task(client.get(TaskCategory("slow"), Job(n).encode())) for n in range(CALLS)]
        async with asyncio.timeout(30):
            await platform.all_wait.wait()
        quick = await client.get(TaskCategory("quick"), Job(0).encode())
        platform.goes_on.set()
        await asyncio.gather(*slow)
    assert quick.phase is Phase.SUCCEEDED
