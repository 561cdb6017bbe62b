"""``do``: a call that answers at once (Flyte 1), or runs as a job where the protocol has no such call (Flyte 2).

As a job, CreateTask starts ``do`` under its key and answers, and GetTask delivers the result. ``do`` is idempotent, so
a replica that finds neither the call under way nor a result runs it again, from the request that the store kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from anyio.abc import TaskGroup

from .._registry import Registered
from .._stores.store import State, StoreUnavailable
from ..connector import ResourceMeta
from ..errors import ConnectorError
from ..models import Phase, Resource
from .admission import Admission, Slot
from .flights import Flight, Flights
from .invocation import Invoker, now
from .options import EngineOptions
from .outcome import AdmissionRefused, bug, status_of
from .requests import Caller, CreateRequest, StoredForms
from .reservation import Reservations

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

    def start(self, registered: Registered, request: CreateRequest, key: str, slot: Slot) -> Flight[Resource]:
        """Start ``do`` for callers who wait for its answer; a key that is done gives its stored result."""

        async def work(flight: Flight[Resource]) -> Resource:
            with slot:
                return await self._once(flight, registered, request)

        return self.flights.start(key, registered.category.name, "do", work)

    async def _once(self, flight: Flight[Resource], registered: Registered, request: CreateRequest) -> Resource:
        key = flight.key
        claim = await self._reservations.claim_or_wait(
            key, registered.category.name, "", until=lambda: flight.wanted_until
        )
        if claim.record.state is State.DONE:
            stored = await self._store.load(key, "result")
            if stored is not None:
                flight.repeated = True
                return self._forms.decode_result(stored)
            return await self._do(
                flight, registered, request, self._options.create_timeout
            )  # the result ran out: do is idempotent
        try:
            async with self._reservations.holding(key):
                resource = await self._do(flight, registered, request, self._options.create_timeout)
                kept = await self._keep(key, resource)
        except BaseException:
            await self._reservations.release(key)
            raise
        if kept:
            await self._reservations.complete(key, b"")
        else:
            await self._reservations.release(key)
        return resource

    async def start_job(self, registered: Registered, request: CreateRequest, key: str, slot: Slot) -> bytes:
        """Keep the request, start ``do`` under its key, and return the meta that finds its result."""
        meta = SyncJob(key).encode()
        with slot:
            claim = await self._reservations.claim(key, registered.category.name)
            if not claim.mine or key in self.flights:
                return meta
            try:
                await self._store.save(
                    key, "request", request.stored_form(), ttl=self._options.do_timeout + self._options.result_ttl
                )
            except BaseException:
                await self._reservations.release(key)
                raise
            self._start_job(registered, request, key, slot)
        return meta

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
        with slot:
            self._start_job(registered, self._forms.decode_request(request, caller), key, slot)
        return running

    async def cancel_job(self, meta: bytes) -> None:
        """End the call, where it runs here, and have its result be ABORTED.

        :raises InvalidRequest: as :meth:`poll_job`.
        """
        key = SyncJob.decode(meta).sync_key
        if await self._store.load(key, "result") is None:
            await self._keep(key, Resource(Phase.ABORTED, "deleted"))
        self.flights.cancel(key)

    def _start_job(self, registered: Registered, request: CreateRequest, key: str, slot: Slot) -> None:
        mine = slot.handed_over()

        async def work(flight: Flight[Resource]) -> Resource:
            flight.wanted_until = now() + self._options.do_timeout
            with mine:
                try:
                    async with self._reservations.holding(key):
                        resource = await self._do(flight, registered, request, self._options.do_timeout)
                except ConnectorError as error:
                    phase = Phase.RETRYABLE_FAILED if error.retryable else Phase.FAILED
                    resource = Resource(phase, f"{status_of(error)}: {error.message}")
                except BaseException:
                    await self._reservations.release(key)
                    raise
                if await self._store.load(key, "result") is None and not await self._keep(key, resource):
                    await self._keep(key, _too_large(registered, self._options))
                await self._reservations.complete(key, b"")
                return resource

        self.flights.start(key, registered.category.name, "do", work)

    async def _do(
        self, flight: Flight[Resource], registered: Registered, request: CreateRequest, seconds: float
    ) -> Resource:
        task_type = registered.category.name
        ctx = self._invoker.context(
            registered,
            request.caller,
            deadline=now() + seconds,
            key=flight.key,
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
            raise bug(task_type, "do", TypeError(f"do must return a Resource whose phase is terminal, not {got}"))
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


def _too_large(registered: Registered, options: EngineOptions) -> Resource:
    return Resource(
        Phase.FAILED,
        f"the result of {registered.category.name} is larger than the {options.result_max_bytes} bytes that are kept",
    )
