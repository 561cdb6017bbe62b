"""``do``: a call that answers at once (Flyte 1), or runs as a job where the protocol has no such call (Flyte 2).

As a job, CreateTask starts ``do`` under its key and answers, and GetTask delivers the result. ``do`` is idempotent, so
a replica that finds neither the call under way nor a result runs it again, from the request that the store kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeVar

import anyio
from anyio.abc import TaskGroup

from connectors._engine.admission import Admission
from connectors._engine.beside_the_loop import LARGE, beside_the_loop
from connectors._engine.events import FactObserver, KeyOutcome, Outcome
from connectors._engine.flights import Flight, Flights
from connectors._engine.invocation import Invoker, now
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import AdmissionRefused, bug, status_of
from connectors._engine.pauses import Pauses
from connectors._engine.redaction import presentable, redacted
from connectors._engine.requests import Caller, CreateRequest, StoredForms
from connectors._engine.reservation import KeyUsed, Reservations
from connectors._engine.retry import retrying
from connectors._engine.work import Work
from connectors._registry import Registered
from connectors._stores import Payload, Store, StoreUnavailable
from connectors.connector import ResourceMeta
from connectors.errors import ConnectorError, InvalidRequest
from connectors.models import Phase, Resource, TaskExecutionMetadata, TaskTemplate

__all__ = ["SyncCalls", "SyncJob", "key_of_meta", "sync_key"]

T = TypeVar("T")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STORE_PATIENCE, _STORE_TRIES = 60.0, 20  # seconds, and tries, for a store that is out of reach

_OF_A_RUN: tuple[Payload, ...] = ("result", "given")

log = logging.getLogger("connectors.engine")


@dataclass(frozen=True)
class SyncJob(ResourceMeta):
    """The meta of a sync connector's call that runs as a job."""

    sync_key: str


class _Done(NamedTuple):
    """An answer of a connector's."""

    resource: Resource
    data: bytes
    """As it is stored."""


class SyncCalls:
    """The sync connectors' calls that are under way in this server."""

    def __init__(
        self,
        *,
        tasks: TaskGroup,
        store: Store,
        reservations: Reservations,
        invoker: Invoker,
        admission: Admission,
        forms: StoredForms,
        options: EngineOptions,
        pauses: Pauses,
        tell: FactObserver,
    ) -> None:
        self._pauses = pauses
        self._tell_of = tell
        self._reservations = reservations
        self._store = store
        self._invoker = invoker
        self._admission = admission
        self._forms = forms
        self._options = options
        self._tasks = tasks
        self.flights: Flights[Resource] = Flights()

    def start(self, work: Work) -> Flight[Resource]:
        """Start ``do`` for callers who wait for its answer; a stored result is the answer."""
        return self.flights.start(work, "do", lambda flight: self._once(flight, work))

    async def _once(self, flight: Flight[Resource], work: Work) -> Resource:
        claim = await self._reservations.claim_or_wait(work, until=lambda: flight.wanted_until)
        try:
            stored = await self._result_of_this_run(work)
            if stored is not None:
                flight.repeated = True
                self._tell(work, "waited" if claim.waited else "repeated")
                return stored
            self._pauses.refuse(work.task_type, work.registered.plugin)
            with self._reservations.holding(work):
                done = await self._do(flight, work, self._options.create_timeout)
                self._tell(work, "new", heard=flight.waiting > 0)
                try:
                    await self._keep(work, done)
                except StoreUnavailable as error:  # its callers wait: they get the answer, and a repeat is made anew
                    log.warning("the result of %s could not be kept: %s", work.key, error.message)
            return done.resource
        finally:
            await self._reservations.release(work)

    # --- as a job: between its reservation and its result, the store holds the request

    async def start_job(self, work: Work, *, until: float) -> bytes:
        """Keep the request, start ``do``, and return the meta that finds its result."""
        if self.flights.get(work.key) is None:
            self.flights.start(work, "do", lambda flight: self._run_job(flight, work))
        else:
            work.slot.release()
        return await self.join_job(work.key, work.fingerprint, until=until) or _meta(work.key)

    async def join_job(self, key: str, fingerprint: str, *, until: float) -> bytes | None:
        """The meta of a call that is under way here, once its request is kept; None where there is none.

        :raises Conflict: it is another request's.
        """
        flight = self.flights.get(key)
        if flight is None:
            return None
        if flight.fingerprint != fingerprint:
            raise KeyUsed
        await flight.wait_begun(until=until)
        return _meta(key)

    async def poll_job(self, registered: Registered, caller: Caller, key: str, *, until: float) -> Resource:
        """The result, or RUNNING; where no server is at work on it, it is run again here."""
        task_type, running = registered.category.name, Resource(Phase.RUNNING)
        if self.flights.get(key) is not None:
            return running
        stored = await self._store.load(key, "result")
        if stored is not None:
            self.when_given(caller, key)
            return await self._decoded(_opened(stored)[1])
        try:
            slot = await self._admission.enter(task_type, until=until)
        except AdmissionRefused:
            return running
        flight = self.flights.get(key)
        if flight is None:
            work = Work(registered, resumed(registered, caller), key, "", slot)
            flight = self.flights.start(work, "do", lambda flight: self._resume_job(flight, work))
        else:
            slot.release()
        return await flight.wait_begun(until=until) or running

    async def cancel_job(self, registered: Registered, meta: bytes) -> None:
        """End the call, where it runs here, and have its result be ABORTED.

        :raises InvalidRequest: the meta is not of a call that runs as a job.
        """
        key = key_of_meta(registered.category.name, meta)
        if await self._store.load(key, "request") is None:
            return  # it is over, or there never was such a call: nothing is written for what a caller made up
        if await self._store.load(key, "result") is None:
            aborted = _sealed("", self._forms.encode_result(Resource(Phase.ABORTED, "deleted")))
            await self._store.save(key, "result", aborted, ttl=self._options.result_ttl)
            await self._store.save(key, "given", b"", ttl=self._options.result_ttl)
        await self._store.drop(key, "request")
        await self.flights.cancel(key)

    def when_given(self, caller: Caller, key: str) -> None:
        """Have it written down, once the caller has its result: some time after that, the same request is a new run."""
        if caller.on_answered is None:
            return
        over, arrived = anyio.Event(), False

        def answered(delivered: bool) -> None:
            nonlocal arrived
            arrived = delivered
            over.set()

        async def note() -> None:
            await over.wait()
            if arrived:
                await self._note_given(key)

        # started here, in the call's task: the event loop calls `answered` outside of any, where none can be started
        self._tasks.start_soon(note)
        caller.on_answered(answered)

    async def _note_given(self, key: str) -> None:
        try:
            if await self._store.load(key, "given") is None:
                await self._store.save(key, "fresh", b"", ttl=self._options.rerun_after)
                await self._store.save(key, "given", b"", ttl=self._options.result_ttl)
        except StoreUnavailable as error:
            log.debug("that the result of %s was given could not be written down: %s", key, error)

    async def _result_of_this_run(self, work: Work) -> Resource | None:
        """The stored result, unless it is an earlier run's: given long enough ago, or of a call that was deleted."""
        result = await self._result(work)
        if result is None or work.fingerprint:  # a key that the caller chose names one call for good
            return result
        given = await self._persist(lambda: self._store.load(work.key, "given"))
        if given is None or await self._persist(lambda: self._store.load(work.key, "fresh")) is not None:
            return result
        for kind in _OF_A_RUN:
            await self._persist(partial(self._store.drop, work.key, kind))
        return None

    async def _run_job(self, flight: Flight[Resource], work: Work) -> Resource:
        claim = await self._reservations.claim(work)
        if not claim.mine:
            self._tell(work, "waited")
            return Resource(Phase.RUNNING)  # another server is at work on it
        try:
            stored = await self._result_of_this_run(work)
            if stored is not None:
                self._tell(work, "repeated")
                return stored
            self._pauses.refuse(work.task_type, work.registered.plugin)
            ttl = self._options.do_timeout + self._options.result_ttl
            await self._store.save(work.key, "request", work.request.stored_form(), ttl=ttl)
            return await self._finish_job(flight, work)
        finally:
            await self._reservations.release(work)

    async def _resume_job(self, flight: Flight[Resource], work: Work) -> Resource:
        claim = await self._reservations.claim(work)
        if not claim.mine:
            return Resource(Phase.RUNNING)
        try:
            stored = await self._result(work)
            if stored is not None:
                return stored
            request = await self._persist(lambda: self._store.load(work.key, "request"))
            if request is None:
                text = f"the result of {work.task_type} is not kept any longer, or was lost with the server that ran it"
                return Resource(Phase.RETRYABLE_FAILED, f"{text}; run the task again")
            # the shield hides it: the task is RUNNING until it may go on
            self._pauses.refuse(work.task_type, work.registered.plugin)
            log.info("running %s again under %s: no server is at work on it", work.task_type, work.key)
            again = self._forms.decode_request(request, work.request.caller)
            return await self._finish_job(flight, replace(work, request=again))
        finally:
            await self._reservations.release(work)

    async def _finish_job(self, flight: Flight[Resource], work: Work) -> Resource:
        flight.wanted_until = now() + self._options.do_timeout
        flight.begin()
        with self._reservations.holding(work):
            try:
                done = await self._do(flight, work, self._options.do_timeout)
                self._tell(work, "new")
            except ConnectorError as error:
                phase = Phase.RETRYABLE_FAILED if error.retryable else Phase.FAILED
                done = self._failed(phase, presentable(f"{status_of(error)}: {error.message}"))
            if await self._result(work) is None and not await self._persist(lambda: self._keep(work, done)):
                limit = self._options.result_max_bytes
                text = f"the result of {work.task_type} is larger than the {limit} bytes that are kept"
                done = self._failed(Phase.FAILED, text)
                await self._persist(lambda: self._keep(work, done))
            await self._persist(lambda: self._store.drop(work.key, "request"))
        return done.resource

    def _tell(self, work: Work, outcome: Outcome, *, heard: bool = True) -> None:
        execution = work.request.metadata.task_execution_id
        key = work.key.rpartition("/")[2]
        self._tell_of(KeyOutcome(work.task_type, outcome, key, heard=heard, execution=execution))

    def _failed(self, phase: Phase, text: str) -> _Done:
        resource = Resource(phase, text)
        return _Done(resource, self._forms.encode_result(resource))

    async def _result(self, work: Work) -> Resource | None:
        """The stored result. :raises Conflict: it is another request's, where the caller chose the key."""
        stored = await self._persist(lambda: self._store.load(work.key, "result"))
        if stored is None:
            return None
        fingerprint, data = _opened(stored)
        if fingerprint and work.fingerprint and fingerprint != work.fingerprint:
            raise KeyUsed
        return await self._decoded(data)

    async def _decoded(self, data: bytes) -> Resource:
        decoded = partial(self._forms.decode_result, data)
        return decoded() if len(data) < LARGE else await beside_the_loop(decoded)

    async def _keep(self, work: Work, done: _Done) -> bool:
        """Store a result; False where it is too large."""
        if len(done.data) > self._options.result_max_bytes:
            return False
        await self._store.save(work.key, "result", _sealed(work.fingerprint, done.data), ttl=self._options.result_ttl)
        return True

    async def _persist(self, access: Callable[[], Awaitable[T]]) -> T:
        """Reach the store, also after a pause of its own: an answer was paid for, and is not thrown away for one."""
        until = now() + _STORE_PATIENCE
        return await retrying(access, attempts=_STORE_TRIES, until=lambda: until, initial=0.1, longest=5.0)

    async def _do(self, flight: Flight[Resource], work: Work, seconds: float) -> _Done:
        registered, request = work.registered, work.request
        ctx = self._invoker.context(
            registered,
            request.caller,
            deadline=now() + seconds,
            key=work.key.rpartition("/")[2],
            output_prefix=request.output_prefix,
            metadata=request.metadata,
            inputs=request.inputs,
        )

        def on_attempt(_: ConnectorError | None) -> None:
            flight.attempts += 1

        template = request.template()
        answer = await self._invoker.call(
            registered, "do", ctx, template, retry_until=lambda: flight.wanted_until, on_attempt=on_attempt
        )
        phase = answer.phase if isinstance(answer, Resource) else None
        if not isinstance(phase, Phase) or not phase.is_terminal:
            got = type(answer).__name__ if phase is None else str(phase)
            raise bug(work.task_type, "do", TypeError(f"do must return a Resource whose phase is terminal, not {got}"))

        def finished() -> _Done:
            resource = self._forms.fit(cleaned, template.interface.outputs)
            return _Done(resource, self._forms.encode_result(resource))

        try:
            cleaned = redacted(answer)
            return await beside_the_loop(finished) if self._forms.is_large(cleaned) else finished()
        except ConnectorError:
            raise  # an output is not what the task declares: the message names it
        except Exception as error:  # the connector may have put anything into its answer
            raise bug(work.task_type, "do", error) from error


def key_of_meta(task_type: str, meta: bytes) -> str:
    """The key of a sync call's meta.

    :raises InvalidRequest: the bytes are no such meta.
    """
    key = SyncJob.decode(meta).sync_key
    if not _UUID.fullmatch(key):
        raise InvalidRequest("the resource meta is not one of this connector (sync_key: no UUID)")
    return sync_key(task_type, key)


def sync_key(task_type: str, key: str) -> str:
    """The key of a sync call in the store: no meta of another connector, nor of an async one, leads to it."""
    return f"{task_type}/{key}"


def resumed(registered: Registered, caller: Caller) -> CreateRequest:
    """Stands for a request that is still in the store."""
    category = registered.category
    return CreateRequest(caller, category, "", TaskExecutionMetadata(), lambda: TaskTemplate(category.name), dict)


def _meta(key: str) -> bytes:
    return SyncJob(key.rpartition("/")[2]).encode()


def _sealed(fingerprint: str, data: bytes) -> bytes:
    """A result as it is stored: the fingerprint of its request, where the caller chose the key, and the result."""
    return fingerprint.encode() + b"\n" + data


def _opened(stored: bytes) -> tuple[str, bytes]:
    fingerprint, _, data = stored.partition(b"\n")
    return fingerprint.decode(), data
