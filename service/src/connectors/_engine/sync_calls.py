"""``do``: a call that answers at once (Flyte 1), or runs as a job where the protocol has no such call (Flyte 2).

As a job, CreateTask starts ``do`` under its key and answers, and GetTask delivers the result. ``do`` is idempotent, so
a replica that finds neither the call under way nor a result runs it again, from the request that the store kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from anyio.abc import TaskGroup

from connectors._engine.admission import Admission
from connectors._engine.flights import Flight, Flights
from connectors._engine.invocation import Invoker, now
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import AdmissionRefused, bug, status_of
from connectors._engine.requests import Caller, StoredForms
from connectors._engine.reservation import Reservations
from connectors._engine.work import Work
from connectors._registry import Registered
from connectors._stores.store import State, StoreUnavailable
from connectors.connector import ResourceMeta
from connectors.errors import ConnectorError
from connectors.models import Phase, Resource
from connectors.secrets import redact

__all__ = ["SyncCalls", "SyncJob"]

log = logging.getLogger("connectors.engine")


@dataclass(frozen=True)
class SyncJob(ResourceMeta):
    """The meta of a sync connector's call that runs as a job."""

    sync_key: str


class SyncCalls:
    """The sync connectors' calls that are under way in this server."""

    def __init__(
        self,
        *,
        tasks: TaskGroup,
        reservations: Reservations,
        invoker: Invoker,
        admission: Admission,
        forms: StoredForms,
        options: EngineOptions,
    ) -> None:
        self._reservations = reservations
        self._store = reservations.store
        self._invoker = invoker
        self._admission = admission
        self._forms = forms
        self._options = options
        self.flights: Flights[Resource] = Flights(tasks)

    def start(self, work: Work) -> Flight[Resource]:
        """Start ``do`` for callers who wait for its answer; a key that is done gives its stored result."""
        return self.flights.start(work, "do", lambda flight: self._once(flight, work))

    async def _once(self, flight: Flight[Resource], work: Work) -> Resource:
        key, seconds = work.key, self._options.create_timeout
        claim = await self._reservations.claim_or_wait(work, until=lambda: flight.wanted_until)
        if claim.record.state is State.DONE:
            stored = await self._store.load(key, "result")
            if stored is not None:
                flight.repeated = True
                return self._forms.decode_result(stored)
            return await self._do(flight, work, seconds)  # the result ran out: do is idempotent
        try:
            async with self._reservations.holding(key):
                resource = await self._do(flight, work, seconds)
                kept = await self._keep(key, resource)
        except BaseException:
            await self._reservations.release(key)
            raise
        if kept:
            await self._reservations.complete(key, b"")
        else:
            await self._reservations.release(key)
        return resource

    async def start_job(self, work: Work) -> bytes:
        """Keep the request, start ``do`` under its key, and return the meta that finds its result."""
        key = work.key
        with work.slot:
            claim = await self._reservations.claim(key, work.task_type, work.fingerprint)
            if claim.mine and key not in self.flights:
                try:
                    ttl = self._options.do_timeout + self._options.result_ttl
                    await self._store.save(key, "request", work.request.stored_form(), ttl=ttl)
                except BaseException:
                    await self._reservations.release(key)
                    raise
                self._start_job(replace(work, slot=work.slot.handed_over()))
        return SyncJob(key).encode()

    async def poll_job(self, registered: Registered, caller: Caller, meta: bytes, *, until: float) -> Resource:
        """The result, or RUNNING; where no server is at work on it, it is run again here.

        :raises InvalidRequest: the meta is not of a call that runs as a job.
        """
        key, running = SyncJob.decode(meta).sync_key, Resource(Phase.RUNNING)
        if key in self.flights:
            return running
        stored = await self._store.load(key, "result")
        if stored is not None:
            return self._forms.decode_result(stored)
        claim = await self._reservations.claim(key, registered.category.name)
        if not claim.mine:
            if claim.record.state is State.RESERVED:
                return running
            return Resource(
                Phase.RETRYABLE_FAILED,
                f"the result of {registered.category.name} was kept for its time, and is gone; run the task again",
            )
        request = await self._store.load(key, "request")
        if request is None:
            await self._reservations.release(key)
            return Resource(
                Phase.RETRYABLE_FAILED,
                f"the call of {registered.category.name} was lost with the server that ran it; run the task again",
            )
        try:
            slot = await self._admission.enter(registered.category.name, until=until)
        except AdmissionRefused:
            await self._reservations.release(key)
            return running
        log.info("running %s again under %s: no server is at work on it", registered.category.name, key)
        self._start_job(Work(registered, self._forms.decode_request(request, caller), key, "", slot))
        return running

    async def cancel_job(self, meta: bytes) -> None:
        """End the call, where it runs here, and have its result be ABORTED.

        :raises InvalidRequest: as :meth:`poll_job`.
        """
        key = SyncJob.decode(meta).sync_key
        if await self._store.load(key, "result") is None:
            await self._keep(key, Resource(Phase.ABORTED, "deleted"))
        self.flights.cancel(key)

    def _start_job(self, work: Work) -> None:
        self.flights.start(work, "do", lambda flight: self._run_job(flight, work))

    async def _run_job(self, flight: Flight[Resource], work: Work) -> Resource:
        key = work.key
        flight.wanted_until = now() + self._options.do_timeout
        try:
            async with self._reservations.holding(key):
                resource = await self._do(flight, work, self._options.do_timeout)
        except ConnectorError as error:
            phase = Phase.RETRYABLE_FAILED if error.retryable else Phase.FAILED
            resource = Resource(phase, redact(f"{status_of(error)}: {error.message}"))
        except BaseException:
            await self._reservations.release(key)
            raise
        if await self._store.load(key, "result") is None and not await self._keep(key, resource):
            limit = self._options.result_max_bytes
            text = f"the result of {work.task_type} is larger than the {limit} bytes that are kept"
            await self._keep(key, Resource(Phase.FAILED, text))
        await self._reservations.complete(key, b"")
        return resource

    async def _do(self, flight: Flight[Resource], work: Work, seconds: float) -> Resource:
        registered, request = work.registered, work.request
        ctx = self._invoker.context(
            registered,
            request.caller,
            deadline=now() + seconds,
            key=work.key,
            output_prefix=request.output_prefix,
            metadata=request.metadata,
            inputs=request.inputs,
        )

        def on_attempt(_: ConnectorError | None) -> None:
            flight.attempts += 1

        answer = await self._invoker.call(
            registered, "do", ctx, request.template(), retry_until=lambda: flight.wanted_until, on_attempt=on_attempt
        )
        if not isinstance(answer, Resource) or not answer.phase.is_terminal:
            got = answer.phase.name if isinstance(answer, Resource) else type(answer).__name__
            raise bug(work.task_type, "do", TypeError(f"do must return a Resource whose phase is terminal, not {got}"))
        try:
            self._forms.encode_result(answer)
        except (TypeError, ValueError) as error:  # here, where it ends the call: a job would be run again and again
            raise bug(work.task_type, "do", error) from error
        return answer

    async def _keep(self, key: str, resource: Resource) -> bool:
        data = self._forms.encode_result(resource)
        if len(data) > self._options.result_max_bytes:
            return False
        try:
            await self._store.save(key, "result", data, ttl=self._options.result_ttl)
        except StoreUnavailable as error:
            log.warning("the result of %s could not be kept: %s", key, error.message)
            return False
        return True
