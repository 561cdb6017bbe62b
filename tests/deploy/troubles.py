"""A server to which happens whatever the metrics tell of, and the calls that make it happen."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc.aio

from connectors import TaskCategory, TaskTemplate
from connectors.client import CallFailed, ConnectorClient
from connectors.testing.platform import FakePlatform, Fault

__all__ = ["PLUGIN", "SETTINGS", "happen"]

PLUGIN = """
import asyncio
import time
from dataclasses import dataclass

from connectors import AsyncConnectorBase, Phase, Resource, ResourceMeta, SyncConnectorBase, Unavailable
from connectors.testing.platform import NativeConnector
from connectors.tokens import TokenCache

Platform = NativeConnector


class Talk(SyncConnectorBase):
    task_type = "talk"

    async def start(self, http):
        self.tokens = TokenCache("Talk", ahead=300)

    async def aclose(self):
        await self.tokens.aclose()

    async def do(self, task, ctx):
        what = ctx.inputs["what"]
        if what == "bug":
            raise ValueError("a bug of this connector")
        if what == "hold up":
            time.sleep(0.8)
        if what == "take long":
            await asyncio.sleep(0.5)
        if what == "fetch a token":
            await self.tokens.get("good", self.fetch)
        if what == "be refused a token":
            await self.tokens.get("bad", self.fail)
        ctx.used("tokens", 3)
        return Resource(Phase.SUCCEEDED)

    async def fetch(self, previous):
        return "invented", 3600.0

    async def fail(self, previous):
        raise Unavailable("nobody gives tokens here")


@dataclass(frozen=True)
class Job(ResourceMeta):
    name: str


class Threads(AsyncConnectorBase[Job]):
    task_type = "threads"

    async def create(self, task, ctx):
        return Job("well")

    def get(self, job, ctx):
        if job.name == "bug":
            raise ValueError("a bug of this connector")
        if job.name == "down":
            raise Unavailable("it is down")
        return Resource(Phase.RUNNING)

    async def delete(self, job, ctx):
        pass
"""

SETTINGS = """
orphan_after = 1.0
connector_attempts = 3

[connectors.talk]
concurrency = 1
queue = 0

[connectors.threads]
retry_budget = 0.0
"""
"""A settings file: so that calls are refused and retries denied, and a job is an orphan soon."""

NATIVE = "platform_native"


async def happen(address: str, platform: FakePlatform) -> None:
    """Make the calls; returns when they are answered, which says nothing of what the server then does by itself."""
    async with ConnectorClient(address, "flyte1") as client:
        await _talk(client)
        for job in (b'{"name": "well"}', b'{"name": "bug"}', b'{"name": "down"}'):
            await client.get(TaskCategory("threads"), job)
        await _jobs(client, platform)
    async with grpc.aio.insecure_channel(address) as channel:
        with suppress(grpc.aio.AioRpcError):
            method: Any = channel.unary_unary("/made.up.Service/Method")
            await method(b"")


async def _talk(client: ConnectorClient) -> None:
    for what in ("bug", "hold up", "fetch a token", "be refused a token"):
        with suppress(CallFailed):
            await client.do(TaskTemplate("talk"), {"what": what})
    both = (client.do(TaskTemplate("talk"), {"what": "take long"}) for _ in range(2))
    await asyncio.gather(*both, return_exceptions=True)  # there is a slot for one


async def _jobs(client: ConnectorClient, platform: FakePlatform) -> None:
    task, category = TaskTemplate(NATIVE), TaskCategory(NATIVE)
    platform.set_fault(Fault("answer", ("submit",), status=429, retry_after="1", times=1))
    first = await client.create(task, {"n": 1}, output_prefix="s3://b/first/n0/0", idempotency_key="first")
    await client.create(task, {"n": 1}, output_prefix="s3://b/first/n0/0", idempotency_key="first")
    with suppress(CallFailed):
        await client.create(task, {"n": 2}, output_prefix="s3://b/first/n0/0", idempotency_key="first")
    platform.set_fault(Fault("state", ("get",), state="ASLEEP", times=1))
    await client.get(category, first)
    platform.set_fault(Fault("answer", ("get",), status=503))
    await client.get(category, first)
    platform.set_fault(Fault("answer", ("cancel",), status=503))
    await client.delete(category, first)
    platform.set_fault(Fault("lose", ("submit",), committed=True))
    with suppress(CallFailed):
        await client.create(task, {}, output_prefix="s3://b/lost/n0/0")
