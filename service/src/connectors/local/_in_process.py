"""Connectors in this process, through the engine that a server has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

import anyio

from connectors._engine.engine import Engine
from connectors._engine.events import CallEvent
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import ConnectorBug
from connectors._engine.requests import Caller, CreateRequest, JobRequest
from connectors._messages.local_values import (
    inputs_file,
    outputs_file,
    read_inputs_file,
    read_outputs_file,
    sent_template,
)
from connectors._registry import Registered, Registry
from connectors._server import outside
from connectors._server.discovery import discover, refuse_bad_settings
from connectors._server.starting import close_connectors, start_connectors, version
from connectors._settings import Settings, SettingsError, load, nearest
from connectors._stores import Deletion, job_of
from connectors._stores.memory import MemoryStore
from connectors._wire.stored_forms import MessageForms
from connectors.connector import AsyncConnectorBase, ConnectorBase, SyncConnectorBase
from connectors.errors import ConnectorError, FailedPrecondition, NotFound
from connectors.http import HttpClient
from connectors.local._calls import OddResource
from connectors.local._faults import fault_of
from connectors.models import Interface, LogPage, Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate

__all__ = ["InProcess"]

_DELETE_AGAIN = 1.0  # seconds from one try of a deletion to the next
_POLL_WITHIN = 2.0
"""Seconds for a poll after a job's first: the engine tries again in silence, and whoever waits here is to hear of a
fault. Each poll that they were too few for doubles them, up to what a poll has by default."""
_EVENTS: ContextVar[list[CallEvent] | None] = ContextVar("_EVENTS", default=None)
"""Takes the events of the calls that are made here, where somebody wants them."""


class InProcess:
    """The installed connectors, with the settings and the secrets that a server started here would have. Use it as an
    asynchronous context. It implements :class:`connectors.local.Calls`.

    Settings come from the environment and ``connectors.toml``; secrets from the environment and files. What it
    remembers of its jobs is lost with it.
    """

    def __init__(
        self, *, connectors: Iterable[ConnectorBase] | None = None, settings: Mapping[str, Any] | None = None
    ) -> None:
        """:param connectors: objects to use in place of the installed plugins. :param settings: by field, in place of
        what the environment and the file say.
        """
        self._given = None if connectors is None else tuple(connectors)
        self._flags = settings
        self._host: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._registry: Registry
        self._http: HttpClient
        self._engine: Engine
        self._store = MemoryStore()
        self._seconds_to_create = 0.0
        self._seconds_to_poll: dict[bytes, float] = {}
        self._most_to_poll = 0.0
        self._started: dict[TaskCategory, asyncio.Lock] = {}
        self._usable: dict[TaskCategory, Registered] = {}

    async def __aenter__(self) -> Self:
        """:raises FailedPrecondition: a setting is not as it should be."""
        try:
            settings = load(self._flags)
            self._registry = discover(settings) if self._given is None else Registry(map(_registered, self._given))
            refuse_bad_settings(self._registry)
        except SettingsError as error:
            raise FailedPrecondition(str(error)) from error
        if faults := outside.faults(settings):
            raise FailedPrecondition("; ".join(faults))
        outside.hide_password(settings)
        options = settings.engine_options()
        # Nobody waits behind a deadline here: a call may take as long as one that runs as a job on a server.
        longest = max(options.max_timeout, options.do_timeout, options.create_timeout)
        self._seconds_to_create, self._most_to_poll = longest, options.default_timeout
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # In a task of its own, so that what cancels the caller does not cancel the engine before the job is deleted.
        self._host = asyncio.create_task(
            self._live(settings, replace(options, max_timeout=longest, create_timeout=longest), ready)
        )
        await asyncio.wait({ready, self._host}, return_when=asyncio.FIRST_COMPLETED)
        if self._host.done():
            await self._host  # it raises what went wrong
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._host is not None  # noqa: S101 - it was entered
        self._over.set()
        try:
            with anyio.CancelScope(shield=True):
                await asyncio.shield(self._host)
        except asyncio.CancelledError:
            self._host.cancel()
            raise

    async def _live(self, settings: Settings, options: EngineOptions, ready: asyncio.Future[None]) -> None:
        async with AsyncExitStack() as ending:
            self._http = await ending.enter_async_context(
                HttpClient(user_agent=f"connectors/{version()}", egress=settings.egress())
            )
            ending.push_async_callback(self._close)
            self._engine = await ending.enter_async_context(
                Engine(
                    self._registry,
                    self._store,
                    self._http,
                    MessageForms(),
                    options=options,
                    observers=(_observe,),
                    secret_sources=outside.secret_sources(settings),
                    plugin_secrets=settings.plugin_secrets(),
                )
            )
            ready.set_result(None)
            await self._over.wait()

    async def kind(self, category: TaskCategory) -> Literal["async", "sync"]:
        """Whether its connector has jobs. :raises: as :meth:`create`."""
        return (await self._ready(category)).kind

    async def create(
        self,
        template: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
    ) -> bytes:
        """Start a job; returns its resource meta. Each call starts another.

        :raises ConnectorError: as the connector says, or it cannot be used here.
        """
        request = await self._request(template, inputs, output_prefix, metadata)
        with _bugs_told_here():
            return await self._engine.create(request)

    async def do(
        self,
        template: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
    ) -> Resource:
        """Carry out a sync connector's call. :raises: as :meth:`create`."""
        request = await self._request(template, inputs, output_prefix, metadata)
        with _bugs_told_here():
            return _as_received(await self._engine.do(request))

    async def get(self, category: TaskCategory, meta: bytes, *, output_prefix: str = "") -> Resource:
        """The job's state. What a server would hide behind it for a backend's sake, and log for its operator, is an
        error here, where both are one person: an exception that the connector did not mean to raise.

        :raises: as :meth:`create`.
        """
        await self._ready(category)
        events: list[CallEvent] = []
        token = _EVENTS.set(events)
        seconds = self._seconds_to_poll.get(meta, self._most_to_poll)
        caller = Caller("local", deadline=asyncio.get_running_loop().time() + seconds)
        try:
            resource = await self._engine.get(JobRequest(caller, category, meta, output_prefix))
        finally:
            _EVENTS.reset(token)
        if bugs := [each.message for each in events if each.error_id]:
            raise ConnectorError(_told_here(bugs[0]))
        fault = fault_of(resource)
        if meta not in self._seconds_to_poll:
            self._seconds_to_poll[meta] = min(_POLL_WITHIN, self._most_to_poll)
        elif fault is not None and fault.status == "DEADLINE_EXCEEDED":
            self._seconds_to_poll[meta] = min(2 * seconds, self._most_to_poll)
        states = tuple(state for each in events for state in each.unknown_states)
        received = _as_received(resource)
        return OddResource.of(received, states) if states else received

    async def delete(self, category: TaskCategory, meta: bytes) -> None:
        """Cancel the job. The engine would carry out later what it cannot do now; this process may not be there then,
        so it is tried until it is done.

        :raises: as :meth:`create`.
        """
        registered = await self._ready(category)
        while True:
            await self._engine.delete(JobRequest(Caller("local"), category, meta))
            if registered.kind == "sync" or not await self._still_wanted(category, meta):
                return
            await anyio.sleep(_DELETE_AGAIN)

    async def get_logs(self, category: TaskCategory, meta: bytes, *, lines: int = 0, token: str = "") -> LogPage:
        """A page of the job's log. :raises: as :meth:`create`."""
        await self._ready(category)
        return await self._engine.get_logs(JobRequest(Caller("local"), category, meta), lines=lines, token=token)

    # --- their common steps

    async def _request(
        self,
        template: TaskTemplate,
        inputs: Mapping[str, Any],
        output_prefix: str,
        metadata: TaskExecutionMetadata | None,
    ) -> CreateRequest:
        category = TaskCategory(template.type, template.task_type_version)
        await self._ready(category)
        sent, data = sent_template(template), inputs_file(inputs, template.interface)
        return CreateRequest(
            caller=Caller("local", deadline=asyncio.get_running_loop().time() + self._seconds_to_create),
            category=category,
            output_prefix=output_prefix,
            metadata=metadata or TaskExecutionMetadata(),
            template=lambda: sent,
            inputs=lambda: read_inputs_file(data),
            input_bytes=len(data),
        )

    async def _ready(self, category: TaskCategory) -> Registered:
        """The connector, started: those of other task types are not."""
        try:
            registered = self._registry.find(category)
        except NotFound as error:
            broken = "; ".join(map(str, self._registry.failures))
            close = nearest(category.name, {each.category.name for each in self._registry} - {category.name})
            raise NotFound(f"{error.message} ({broken}){close}" if broken else f"{error.message}{close}") from error
        async with self._started.setdefault(category, asyncio.Lock()):
            if category not in self._usable:
                started = await start_connectors(Registry([registered]), self._http)
                if started.failures:
                    raise FailedPrecondition(str(started.failures[0]))
                self._usable[category] = registered
        return registered

    async def _still_wanted(self, category: TaskCategory, meta: bytes) -> bool:
        record = await self._store.find_job(job_of(category.name, category.version, meta))
        return record is not None and record.deletion is Deletion.WANTED and not record.set_aside

    async def _close(self) -> None:
        await close_connectors(Registry(self._usable.values()))


@contextmanager
def _bugs_told_here() -> Iterator[None]:
    try:
        yield
    except ConnectorBug as bug:
        raise ConnectorBug(_told_here(bug.message), error_id=bug.error_id) from bug.__cause__


def _told_here(message: str) -> str:
    """There is no server, whose log the engine means: what it logs is this program's."""
    return message.replace("the server's log has error id", "its traceback is logged here, as error id")


def _observe(event: CallEvent) -> None:
    events = _EVENTS.get()
    if events is not None:
        events.append(event)


def _as_received(resource: Resource) -> Resource:
    """With the outputs as they would have come through a server: a tuple is a list, a dataclass a dict."""
    if resource.outputs is None:
        return resource
    return replace(resource, outputs=read_outputs_file(outputs_file(resource.outputs, Interface())))


def _registered(connector: ConnectorBase) -> Registered:
    if not isinstance(connector, AsyncConnectorBase | SyncConnectorBase):
        raise ConnectorError(f"{connector!r} is neither an async nor a sync connector")
    category = TaskCategory(connector.task_type, connector.task_type_version)
    kind: Literal["async", "sync"] = "async" if isinstance(connector, AsyncConnectorBase) else "sync"
    return Registered(connector, category, type(connector).__name__, "", "", kind)
