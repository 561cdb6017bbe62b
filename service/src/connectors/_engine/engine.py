"""The engine: what both protocols call, one method per operation."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import anyio
from anyio.abc import TaskGroup

from connectors._engine.admission import Admission, LineState
from connectors._engine.blocking import ThreadUse
from connectors._engine.creates import Created, Creates
from connectors._engine.deletions import Deletions
from connectors._engine.events import FactObserver, Meter, Observer, Operation, Tracer
from connectors._engine.fingerprint import fingerprint as fingerprint_of_request
from connectors._engine.flights import Flight, Flights
from connectors._engine.identity import Run, run_of, subject_of
from connectors._engine.invocation import Invoker, now
from connectors._engine.job_calls import JobCalls, decode_meta
from connectors._engine.marks import Marks
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import bug
from connectors._engine.pauses import Pauses
from connectors._engine.polls import Polls
from connectors._engine.reaper import Reaper
from connectors._engine.recorder import Call, Recorder
from connectors._engine.requests import Caller, CreateRequest, JobRequest, StoredForms
from connectors._engine.reservation import KeyUsed, Reservations
from connectors._engine.secret_access import PluginSecrets, SecretAccess
from connectors._engine.shield import Shield, StandingFaults
from connectors._engine.sweeping import sweep
from connectors._engine.sync_calls import SyncCalls, key_of_meta, sync_key
from connectors._engine.work import Work
from connectors._registry import Registered, Registry
from connectors._stores.store import Store
from connectors.errors import ConnectorError, Unimplemented
from connectors.http import HttpClient
from connectors.models import LogPage, MetricResult, Resource, TaskExecutionMetadata
from connectors.secrets import SecretSource

__all__ = ["Engine"]

log = logging.getLogger("connectors.engine")
T = TypeVar("T")
_LAST_MARKS = 2.0  # seconds for what is still to be written down when the server ends


class _Calls(Protocol[T]):
    """Creates or sync calls: work that is joined by its key."""

    flights: Flights[T]

    def start(self, work: Work) -> Flight[T]: ...


class Engine:
    """Runs connectors for their callers. Use it as an asynchronous context; leave it in the task that entered it.

    Every method raises :class:`ConnectorError` and nothing else, with a message that is fit for a stranger.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        http: HttpClient,
        forms: StoredForms,
        *,
        options: EngineOptions | None = None,
        observers: Sequence[Observer] = (),
        meters: Sequence[Meter] = (),
        facts: Sequence[FactObserver] = (),
        tracer: Tracer | None = None,
        pauses: Pauses | None = None,
        secret_sources: Sequence[SecretSource] | None = None,
        plugin_secrets: Mapping[str, PluginSecrets] | None = None,
    ) -> None:
        self.registry = registry
        self.pauses = pauses or Pauses()
        """What nothing new is begun for; whoever made it may change it at any time."""
        self._store = store
        self._forms = forms
        self._options = options or EngineOptions()
        secrets = SecretAccess(registry, secret_sources, plugin_secrets)
        known = frozenset(item.category.name for item in registry)
        self._recorder = Recorder(observers, known, meters, facts, tracer)
        self._invoker = Invoker(
            self._options, http, secrets, used=self._recorder.used, facts=(self._recorder.fact,), tracer=tracer
        )
        self._admission = Admission(self._options)
        self._shield = Shield()
        self._marks = Marks(store)
        self._calls = JobCalls(self._admission, self._invoker)
        self._deletions = Deletions(store, self._calls, self._shield)
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup
        self._creates: Creates
        self._sync: SyncCalls
        self._polls: Polls

    @property
    def in_flight(self) -> Mapping[tuple[str, str], int]:
        """Calls under way, by task type and operation."""
        return self._recorder.in_flight

    @property
    def admission(self) -> Mapping[str, LineState]:
        """How far each connector's limit is taken, by task type."""
        return {name: self._admission.state(name) for name in self._task_types()}

    @property
    def paused(self) -> Mapping[str, bool]:
        """Which task types nothing new is begun for."""
        return {each.category.name: self.pauses.hold(each.category.name, each.plugin) for each in self.registry}

    @property
    def threads(self) -> Mapping[str, ThreadUse]:
        """How far the threads for blocking methods are taken, by task type; of those that have used any."""
        return self._invoker.pools.use

    @property
    def standing_faults(self) -> Mapping[str, StandingFaults]:
        """The faults that polls meet now, by task type; of those that meet any."""
        return self._shield.standing(now=now())

    def _task_types(self) -> list[str]:
        return list(dict.fromkeys(item.category.name for item in self.registry))

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self._invoker.aclose)
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        reservations = Reservations(self._store, self._tasks, self._options)
        self._creates = Creates(
            self._store,
            reservations,
            self._invoker,
            self._options,
            pauses=self.pauses,
            unheard=self._unheard,
            tell=self._recorder.fact,
        )
        self._sync = SyncCalls(
            tasks=self._tasks,
            store=self._store,
            reservations=reservations,
            invoker=self._invoker,
            admission=self._admission,
            forms=self._forms,
            options=self._options,
            pauses=self.pauses,
            tell=self._recorder.fact,
        )
        self._stack.push_async_callback(self._creates.flights.aclose)
        self._stack.push_async_callback(self._sync.flights.aclose)
        self._polls = Polls(
            tasks=self._tasks,
            store=self._store,
            marks=self._marks,
            shield=self._shield,
            calls=self._calls,
            forms=self._forms,
            recorder=self._recorder,
            options=self._options,
        )
        reaper = Reaper(
            tasks=self._tasks,
            registry=self.registry,
            store=self._store,
            marks=self._marks,
            calls=self._calls,
            deletions=self._deletions,
            recorder=self._recorder,
            options=self._options,
        )
        self._stack.push_async_callback(self._polls.aclose)
        self._tasks.start_soon(self._marks.run)
        self._tasks.start_soon(reaper.run)
        self._tasks.start_soon(partial(sweep, self._store, retention=self._options.store_retention))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.move_on_after(_LAST_MARKS, shield=True):
            await self._marks.flush()
        # the caller's own error is not handed on: the task group would wrap it in a group
        self._tasks.cancel_scope.cancel()
        await self._stack.aclose()

    async def drain(self) -> None:
        """Wait until no create and no ``do`` is under way; the caller bounds the wait."""
        await self._creates.flights.join()
        await self._sync.flights.join()

    # --- the operations

    async def create(self, request: CreateRequest) -> bytes:
        """Start a job, or find the one that this request started before; returns its resource meta. On Flyte 2, a sync
        connector's ``do`` is started as a job.
        """
        with self._recorded("create", request) as call:
            registered = self.registry.find(request.category)
            run = run_of(request, self._options.key_namespace)
            call.key = run.key
            until = self._answer_by(request.caller)
            fingerprint = await _fingerprint(request)
            if registered.kind == "sync":
                _refuse_flyte1(registered, request.caller)
                key = sync_key(request.category.name, call.key)
                meta = await self._sync.join_job(key, fingerprint, until=until)
                call.repeated = call.joined = meta is not None
                if meta is None:
                    work = await self._admit(registered, request, key, until, fingerprint=fingerprint)
                    meta = await self._sync.start_job(work, until=until)
                call.meta = meta
                return meta
            flight = await self._join(
                self._creates, registered, request, call, run.key, fingerprint=fingerprint, run=run
            )
            self._when_answered(request.caller, flight)
            created = await self._answer_of(flight, call, until)
            call.key, call.meta = created.key, created.meta
            return created.meta

    async def do(self, request: CreateRequest) -> Resource:
        """Carry out a sync connector's call, or give the stored result of the same request."""
        with self._recorded("do", request) as call:
            registered = self.registry.find(request.category)
            if registered.kind == "async":
                raise Unimplemented(f"{request.category.name} is an async connector: it is called by CreateTask")
            call.key = run_of(request, self._options.key_namespace).key
            key = sync_key(request.category.name, call.key)
            fingerprint = await _fingerprint(request)
            flight = await self._join(self._sync, registered, request, call, key, fingerprint=fingerprint)
            self._sync.when_given(request.caller, key)
            resource = await self._answer_of(flight, call, self._answer_by(request.caller))
            call.answer(resource)
            return resource

    async def _join(
        self,
        calls: _Calls[T],
        registered: Registered,
        request: CreateRequest,
        call: Call,
        key: str,
        *,
        fingerprint: str,
        run: Run | None = None,
    ) -> Flight[T]:
        flight = calls.flights.get(key)
        call.repeated = call.joined = flight is not None
        if flight is None:
            until = self._answer_by(request.caller)
            work = await self._admit(registered, request, key, until, fingerprint=fingerprint, run=run)
            flight = calls.flights.get(key)  # the same request may have come while this one waited
            if flight is None:
                flight = calls.start(work)
            else:
                work.slot.release()
                call.repeated = call.joined = True
        if flight.fingerprint != fingerprint:
            raise KeyUsed
        return flight

    async def _answer_of(self, flight: Flight[T], call: Call, until: float) -> T:
        try:
            return await flight.wait(until=until)
        finally:
            call.attempts, call.repeated = flight.attempts, call.repeated or flight.repeated
            call.mismatch = flight.mismatch

    async def _admit(
        self,
        registered: Registered,
        request: CreateRequest,
        key: str,
        until: float,
        *,
        fingerprint: str,
        run: Run | None = None,
    ) -> Work:
        slot = await self._admission.enter(request.category.name, until=until)
        subject = subject_of(request) if run else None
        return Work(registered, request, key, fingerprint, slot, run=run, subject=subject)

    def _when_answered(self, caller: Caller, flight: Flight[Created]) -> None:
        """Take note of whether the job's meta reached this caller."""

        def answered(delivered: bool) -> None:
            if flight.answer is not None:  # else it gave up before there was one: the end of the create tells
                self._marks.note(flight.answer.key, delivered=delivered)

        if caller.on_answered is not None:
            caller.on_answered(answered)

    def _unheard(self, key: str) -> None:
        self._marks.note(key, delivered=False)

    async def get(self, request: JobRequest) -> Resource:
        """The job's state. Once the meta decodes, this answers with a resource and never with an error."""
        with self._recorder.call("get", request.category.name, request.caller) as call:
            registered = self.registry.find(request.category)
            until = self._answer_by(request.caller)
            if registered.kind == "sync":
                _refuse_flyte1(registered, request.caller)
                key = key_of_meta(request.category.name, request.meta)
                try:
                    resource = await self._sync.poll_job(registered, request.caller, key, until=until)
                    if not resource.phase.is_terminal:  # whatever was the end of an earlier call of that name
                        self._shield.forget(request.category, request.meta)
                    elif resource.outputs is None:  # results are remembered by the store alone: they may be large
                        resource = self._shield.answer(request.category, request.meta, resource)
                except Exception as error:  # noqa: BLE001 - the sixth failed poll in its life loses the task
                    fault = error if isinstance(error, ConnectorError) else bug(request.category.name, "do", error)
                    call.hidden = fault
                    resource = self._shield.hide(request.category, request.meta, fault, now=now())
            else:
                job = decode_meta(registered, request.meta)
                resource = await self._polls.poll(registered, request, job, call=call, until=until)
            call.answer(resource)
            return resource

    async def delete(self, request: JobRequest) -> None:
        """Cancel the job, or see to it that it will be; one that is over or missing is no error."""
        with self._recorder.call("delete", request.category.name, request.caller) as call:
            registered = self.registry.find(request.category)
            if registered.kind == "sync":
                _refuse_flyte1(registered, request.caller)
                call.key = key_of_meta(registered.category.name, request.meta).rpartition("/")[2]
                await self._sync.cancel_job(registered, request.meta)
                return
            job = decode_meta(registered, request.meta)
            call.meta = job.encode()  # what the caller sent beside it may be anything
            until = self._answer_by(request.caller)
            await self._deletions.delete(registered, request, job, call=call, until=until)
            self._polls.forget(request)

    async def get_logs(self, request: JobRequest, *, lines: int, token: str) -> LogPage:
        """A page of the job's log.

        :raises Unimplemented: the connector has none.
        """
        page: LogPage = await self._of_job("get_logs", request, lines=lines, token=token)
        return page

    async def get_metrics(
        self,
        request: JobRequest,
        *,
        queries: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        step: timedelta | None,
    ) -> Sequence[MetricResult]:
        """The job's metrics.

        :raises Unimplemented: the connector has none.
        """
        results: Sequence[MetricResult] = await self._of_job(
            "get_metrics", request, queries=queries, start=start, end=end, step=step
        )
        return results

    # --- what other services do

    def reads(self, request: JobRequest) -> bool:
        """Whether the connector of a task type that is served here can read the request's meta.

        :raises NotFound: none is.
        """
        registered = self.registry.find(request.category)
        try:
            if registered.kind == "sync":
                key_of_meta(request.category.name, request.meta)
            else:
                decode_meta(registered, request.meta)
        except ConnectorError:
            return False
        return True

    @asynccontextmanager
    async def passed_on(
        self,
        operation: Operation,
        task_type: str,
        caller: Caller,
        *,
        listed: bool,
        input_bytes: int | None = None,
        metadata: TaskExecutionMetadata | None = None,
    ) -> AsyncIterator[float]:
        """A call that another service carries out, within this one's pauses and limits, and told of like any other.

        Gives the instant on the event loop's clock by which the answer must be there. A caller who sets no deadline is
        given the longest: what the other service takes that long for was no fault before.

        :param listed: whether the other service lists the task type.
        :raises Paused, AdmissionRefused: it is not to be passed on.
        """
        recorded = self._recorder.call(
            operation,
            task_type,
            caller,
            input_bytes=input_bytes,
            metadata=metadata or TaskExecutionMetadata(),
            listed=listed,
        )
        with recorded as call:
            if operation in {"create", "do"}:
                self.pauses.refuse(task_type)
            until = self._answer_by(caller, otherwise=self._options.max_timeout)
            with await self._admission.enter(task_type if listed else "unknown", until=until):
                call.attempts = 1
                yield until

    # --- their common steps

    async def _of_job(self, operation: str, request: JobRequest, **options: Any) -> Any:
        with self._recorder.call(operation, request.category.name, request.caller) as call:
            registered = self.registry.find(request.category)
            if registered.kind == "sync":
                raise Unimplemented(f"{request.category.name} is a sync connector: it has no jobs")
            job = decode_meta(registered, request.meta)
            until = self._answer_by(request.caller)
            return await self._calls.call(registered, operation, request, job, call=call, until=until, **options)

    def _recorded(self, operation: str, request: CreateRequest) -> AbstractContextManager[Call]:
        return self._recorder.call(
            operation,
            request.category.name,
            request.caller,
            input_bytes=request.input_bytes,
            metadata=request.metadata,
        )

    def _answer_by(self, caller: Caller, *, otherwise: float | None = None) -> float:
        """The instant by which the answer must leave: the caller's deadline, or the default, less the margin.

        :param otherwise: seconds, in place of the default.
        """
        start, options = now(), self._options
        default = options.default_timeout if otherwise is None else otherwise
        wanted = default if caller.deadline is None else caller.deadline - start
        seconds = min(wanted, options.max_timeout)
        return start + seconds - min(options.margin, seconds / 10)


async def _fingerprint(request: CreateRequest) -> str:
    """For a key that the caller chose; "" for any other."""
    return await fingerprint_of_request(request) if request.caller.idempotency_key else ""


def _refuse_flyte1(registered: Registered, caller: Caller) -> None:
    if caller.protocol == "flyte1":
        raise Unimplemented(f"{registered.category.name} is a sync connector: it is called by ExecuteTaskSync")
