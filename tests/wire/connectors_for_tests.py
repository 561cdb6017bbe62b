"""Small connectors, and a server around them on a free port: what the wire's tests call through real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

import grpc
import grpc.aio

from connectors import (
    AsyncConnectorBase,
    Context,
    LogLine,
    LogPage,
    MetricResult,
    Phase,
    Resource,
    ResourceMeta,
    SyncConnectorBase,
    TaskCategory,
    TaskTemplate,
)
from connectors._engine.engine import Engine
from connectors._engine.events import CallEvent
from connectors._engine.options import EngineOptions
from connectors._registry import Registered, Registry
from connectors._stores.memory import MemoryStore
from connectors._wire.health import Health
from connectors._wire.routes import SERVICES, routes
from connectors._wire.status import Status
from connectors._wire.stored_forms import MessageForms
from connectors._wire.transport import GrpcServer, Limits
from connectors.http import HttpClient
from connectors.models import TaskExecutionMetadata


@dataclass(frozen=True)
class AcmeJob(ResourceMeta):
    number: int


@dataclass(frozen=True)
class Seen:
    """What a connector was given."""

    task: TaskTemplate
    inputs: Mapping[str, Any]
    metadata: TaskExecutionMetadata
    output_prefix: str
    key: str
    token: str | None


async def seen(task: TaskTemplate, ctx: Context) -> Seen:
    token = await ctx.secrets.find("acme_token")
    return Seen(task, ctx.inputs, ctx.metadata, ctx.output_prefix, ctx.idempotency_key, token)


class AcmeConnector(AsyncConnectorBase[AcmeJob]):
    task_type: ClassVar[str] = "acme"

    def __init__(self) -> None:
        super().__init__()
        self.created: list[Seen] = []
        self.deleted: list[AcmeJob] = []
        self.tokens: list[str | None] = []
        self.prefixes: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.answers: list[Resource] = []
        self.page = LogPage(())

    async def create(self, task: TaskTemplate, ctx: Context) -> AcmeJob:
        self.created.append(await seen(task, ctx))
        return AcmeJob(len(self.created))

    async def get(self, job: AcmeJob, ctx: Context) -> Resource:
        self.tokens.append(await ctx.secrets.find("acme_token"))
        self.prefixes.append(ctx.output_prefix)
        return self.answers.pop(0) if self.answers else Resource(Phase.SUCCEEDED)

    async def delete(self, job: AcmeJob, ctx: Context) -> None:
        self.tokens.append(await ctx.secrets.find("acme_token"))
        self.deleted.append(job)

    async def get_logs(self, job: AcmeJob, ctx: Context, *, lines: int, token: str) -> LogPage:
        self.asked.append({"lines": lines, "token": token})
        return self.page

    async def get_metrics(
        self,
        job: AcmeJob,
        ctx: Context,
        *,
        queries: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        step: timedelta | None,
    ) -> Sequence[MetricResult]:
        self.asked.append({"queries": queries, "start": start, "end": end, "step": step})
        return [MetricResult(each, {"values": [1, 2.5]}) for each in queries]


class NewAcmeConnector(AcmeConnector):
    """The same task type in its next version."""

    task_type_version = 1

    @property
    def name(self) -> str:
        return "Acme Connector"


@dataclass(frozen=True)
class BareJob(ResourceMeta):
    name: str


class BareConnector(AsyncConnectorBase[BareJob]):
    """No more than it has to have; its methods are plain functions."""

    task_type = "bare"

    def create(self, task: TaskTemplate, ctx: Context) -> BareJob:
        return BareJob("b")

    def get(self, job: BareJob, ctx: Context) -> Resource:
        return Resource(Phase.RUNNING)

    def delete(self, job: BareJob, ctx: Context) -> None:
        return None


class EchoConnector(SyncConnectorBase):
    task_type = "echo"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Seen] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer: Callable[[Context], Resource] = lambda ctx: Resource(Phase.SUCCEEDED, outputs=dict(ctx.inputs))

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        self.calls.append(await seen(task, ctx))
        await self.gate.wait()
        return self.answer(ctx)


def log_line(text: str) -> LogLine:
    return LogLine(text, originator="USER")


@dataclass
class Served:
    """A server with its parts, and a channel to it."""

    address: str
    channel: grpc.aio.Channel
    health: Health
    acme: AcmeConnector
    new_acme: NewAcmeConnector
    echo: EchoConnector
    store: MemoryStore
    server: GrpcServer
    events: list[CallEvent] = field(default_factory=list)
    rejected: list[tuple[str, Status, str]] = field(default_factory=list)
    unhandled: list[BaseException] = field(default_factory=list)

    async def call(self, method: str, data: bytes, **options: Any) -> bytes:
        """A unary call of bytes."""
        stub: Any = self.channel.unary_unary(method)
        answer: bytes = await stub(data, timeout=10, **options)
        return answer


QUICK = EngineOptions(retry_max=0.1)
"""Time is real here: nobody waits for a retry."""


@asynccontextmanager
async def serving(
    *,
    store: MemoryStore | None = None,
    limits: Limits | None = None,
    options: EngineOptions | None = None,
    health: Health | None = None,
) -> AsyncIterator[Served]:
    """A server of the four connectors. Two that share a store are replicas."""
    acme, new_acme, echo = AcmeConnector(), NewAcmeConnector(), EchoConnector()
    connectors: list[AsyncConnectorBase[Any] | SyncConnectorBase] = [acme, new_acme, BareConnector(), echo]
    registry = Registry(
        Registered(
            connector=each,
            category=TaskCategory(each.task_type, each.task_type_version),
            plugin="tests",
            distribution="tests",
            distribution_version="1",
            kind="sync" if isinstance(each, SyncConnectorBase) else "async",
        )
        for each in connectors
    )
    shared = store or MemoryStore()
    await shared.start()
    events: list[CallEvent] = []
    rejected: list[tuple[str, Status, str]] = []
    unhandled: list[BaseException] = []

    def on_rejected(method: str, status: Status, reason: str) -> None:
        rejected.append((method, status, str(reason)))

    def on_unhandled(_: str, error: BaseException) -> str:
        unhandled.append(error)
        return "unhandled"

    health = health or Health(SERVICES)
    async with (
        HttpClient() as http,
        Engine(registry, shared, http, MessageForms(), options=options or QUICK, observers=[events.append]) as engine,
    ):
        served = routes(engine, health=health, reflection=True, on_rejected=on_rejected)
        server = GrpcServer(served, limits=limits or Limits(), on_rejected=on_rejected, on_unhandled=on_unhandled)
        host, port = await server.start("127.0.0.1", 0)
        try:
            async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                yield Served(
                    f"{host}:{port}", channel, health, acme, new_acme, echo, shared, server, events, rejected, unhandled
                )
        finally:
            await server.close()
