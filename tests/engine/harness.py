"""Small connectors and an engine around them, in process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from connectors import (
    AsyncConnectorBase,
    Context,
    Identifier,
    Phase,
    Resource,
    ResourceMeta,
    SyncConnectorBase,
    TaskCategory,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskTemplate,
)
from connectors._engine.engine import Engine
from connectors._engine.events import CallEvent, Fact, KeyOutcome, Tracer
from connectors._engine.options import EngineOptions
from connectors._engine.requests import Caller, CreateRequest, JobRequest, StoredForms
from connectors._engine.secret_access import REQUEST
from connectors._registry import Registered, Registry
from connectors._stores.memory import MemoryStore
from connectors._stores.store import Store
from connectors.http import HttpClient
from connectors.secrets import RequestSecrets

METADATA = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        task_id=Identifier("proj", "dev", "wf.task", "v1"), project="proj", domain="dev", execution="ex1", node_id="n0"
    )
)


@dataclass(frozen=True)
class Job(ResourceMeta):
    name: str


class Acme(AsyncConnectorBase[Job]):
    """Does what its test tells it to."""

    task_type = "acme"

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []
        self.gets = 0
        self.deletes = 0
        self.on_create: Callable[[Context], Any] = lambda ctx: None
        self.on_get: Callable[[Context], Any] = lambda ctx: Resource(Phase.RUNNING)
        self.on_delete: Callable[[Context], Any] = lambda ctx: None

    async def create(self, task: TaskTemplate, ctx: Context) -> Job:
        self.keys.append(ctx.idempotency_key)
        answer = await _awaited(self.on_create(ctx))
        return answer if answer is not None else Job(ctx.idempotency_key)

    async def get(self, job: Job, ctx: Context) -> Resource:
        self.gets += 1
        answer: Resource = await _awaited(self.on_get(ctx))
        return answer

    async def delete(self, job: Job, ctx: Context) -> None:
        self.deletes += 1
        await _awaited(self.on_delete(ctx))


class Echo(SyncConnectorBase):
    task_type = "echo"

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.on_do: Callable[[Context], Any] = lambda ctx: Resource(Phase.SUCCEEDED, outputs=dict(ctx.inputs))

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        self.calls += 1
        answer: Resource = await _awaited(self.on_do(ctx))
        return answer


async def _awaited(answer: Any) -> Any:
    return await answer if asyncio.iscoroutine(answer) else answer


class JsonForms(StoredForms):
    """Payloads as JSON: the engine does not mind which form the wire chose."""

    def __init__(self) -> None:
        self.large = False
        """Whether to write a resource would hold the event loop."""
        self.writers: list[int] = []
        """The threads in which resources were written."""
        self.readers: list[int] = []
        """And those in which they were read."""

    def is_large(self, resource: Resource) -> bool:
        return self.large

    def fit(self, resource: Resource, declared: Mapping[str, Any]) -> Resource:
        return resource

    def encode_result(self, resource: Resource) -> bytes:
        self.writers.append(threading.get_ident())
        return json.dumps([resource.phase.name, resource.message, resource.outputs]).encode()

    def decode_result(self, data: bytes) -> Resource:
        self.readers.append(threading.get_ident())
        phase, message, outputs = json.loads(data)
        return Resource(Phase[phase], message, outputs=outputs)

    def decode_request(self, data: bytes, caller: Caller) -> CreateRequest:
        category, inputs = json.loads(data)
        return create_request(category, inputs=inputs, caller=caller)


def create_request(
    task_type: str = "acme",
    *,
    prefix: str = "s3://bucket/ex1/n0/0",
    inputs: Mapping[str, Any] | None = None,
    caller: Caller | None = None,
    metadata: TaskExecutionMetadata = METADATA,
    custom: Mapping[str, Any] | None = None,
) -> CreateRequest:
    values = dict(inputs or {})
    return CreateRequest(
        caller=caller or Caller("flyte1"),
        category=TaskCategory(task_type),
        output_prefix=prefix,
        metadata=metadata,
        template=lambda: TaskTemplate(type=task_type, custom=custom or {}),
        inputs=lambda: values,
        input_bytes=len(values),
        stored_form=lambda: json.dumps([task_type, values]).encode(),
    )


def job_request(meta: bytes, task_type: str = "acme", caller: Caller | None = None) -> JobRequest:
    return JobRequest(caller or Caller("flyte1"), TaskCategory(task_type), meta)


@dataclass
class Bench:
    """An engine over test connectors."""

    acme: Acme = field(default_factory=Acme)
    echo: Echo = field(default_factory=Echo)
    store: Store = field(default_factory=MemoryStore)
    events: list[CallEvent] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    tracer: Tracer | None = None
    used: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    options: EngineOptions = field(default_factory=EngineOptions)
    forms: JsonForms = field(default_factory=JsonForms)
    extra: tuple[Any, ...] = ()

    @property
    def outcomes(self) -> list[str]:
        """What came of the keys, in order."""
        return [fact.outcome for fact in self.facts if isinstance(fact, KeyOutcome)]

    @asynccontextmanager
    async def engine(self, **options: Any) -> AsyncIterator[Engine]:
        connectors = [self.acme, self.echo, *self.extra]
        registry = Registry(
            Registered(
                connector=connector,
                category=TaskCategory(connector.task_type),
                plugin=connector.task_type,
                distribution="tests",
                distribution_version="1",
                kind="sync" if isinstance(connector, SyncConnectorBase) else "async",
            )
            for connector in connectors
        )
        async with (
            HttpClient() as http,
            Engine(
                registry,
                self.store,
                http,
                self.forms,
                options=replace(self.options, **options),
                observers=[self.events.append],
                meters=[lambda task_type, usage: self.used.append((task_type, dict(usage)))],
                facts=[self.facts.append],
                tracer=self.tracer,
                secret_sources=[REQUEST, RequestSecrets({"token": "fake-token-0123456789"})],
            ) as engine,
        ):
            yield engine
