"""DeleteTask of an async connector: remembered first, then carried out.

A deletion that cannot be carried out in time is a success all the same: it stands in the store, a server carries it out
later, and polls answer ABORTED from now on. Only one that can neither be carried out nor remembered is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from connectors._engine.invocation import now
from connectors._engine.job_calls import JobCalls
from connectors._engine.recorder import Call
from connectors._engine.redaction import presentable
from connectors._engine.requests import JobRequest
from connectors._engine.shield import Shield
from connectors._registry import Registered
from connectors._stores import Attention, Record, Store, StoreUnavailable, job_of
from connectors.connector import ResourceMeta
from connectors.errors import ConnectorError, InvalidRequest, NotFound, Unimplemented
from connectors.models import Phase, Resource

__all__ = ["NEVER_POSSIBLE", "Deletions"]

log = logging.getLogger("connectors.engine")
NEVER_POSSIBLE = (InvalidRequest, Unimplemented)
"""What a connector raises where cancelling the job will not work later either."""
_REASON = "deleted by the caller"
_STORE_WITHIN = 2.0  # seconds, and a third of the call's time at the most


class Deletions:
    """Carries out what callers ask for."""

    def __init__(self, store: Store, calls: JobCalls, shield: Shield) -> None:
        self._store = store
        self._calls = calls
        self._shield = shield
        self._under_way: set[str] = set()

    def is_under_way(self, key: str) -> bool:
        """Whether a call of this server's is cancelling the key's job right now."""
        return key in self._under_way

    async def delete(
        self, registered: Registered, request: JobRequest, job: ResourceMeta, *, call: Call, until: float
    ) -> None:
        """Cancel the job, or see to it that it will be; one that is over or missing is no error.

        :param until: an instant on the event loop's clock, by which this returns.
        :raises ConnectorError: the connector cannot cancel it, and never will; or it cannot now, and the store is out
            of reach, too.
        """
        is_new, record = await self._remember(request, job, until)
        call.key = record.key if record else ""
        with self._marked(call.key):
            try:
                await self._calls.call(registered, "delete", request, job, call=call, until=until)
            except NotFound as error:
                log.debug("a job to be deleted is not there: %s", presentable(error.message))
            except NEVER_POSSIBLE as error:
                if record is not None:
                    await self._take_back(record, error, is_new=is_new)
                raise
            except ConnectorError as error:
                if record is None:
                    raise
                error.message = presentable(error.message)
                call.hidden = error
                if not record.terminal:
                    self._abort(request)
                    log.info("%s cannot be cancelled now, and will be later: %s", record.key, error.message)
                return
            if record is None or not record.terminal:
                self._abort(request)
            if record is not None:
                await self._note_deleted(record)

    async def _remember(self, request: JobRequest, job: ResourceMeta, until: float) -> tuple[bool, Record | None]:
        """The job's record, in which its deletion stands, and whether it is made for that; None where the store cannot
        be reached. A job whose end was delivered is over: nothing is to be remembered of it.
        """
        category, meta = request.category, request.meta
        name = job_of(category.name, category.version, meta)
        try:
            with anyio.fail_after(min(_STORE_WITHIN, max(0.0, until - now()) / 3)):
                record = await self._store.find_job(name)
                if record is not None:
                    if record.terminal:
                        return False, record
                    return False, await self._store.want_deletion(record.key, reason=_REASON)
                made = Record(
                    f"job/{name}",
                    category.name,
                    meta=job.encode(),  # what the caller sent beside it may be a secret, and is not kept
                    version=category.version,
                    subject={"protocol": request.caller.protocol},
                    job=name,  # polls come with what the caller sent
                )
                return True, await self._store.want_deletion(made.key, reason=_REASON, job=made)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("a deletion could not be written down: %s", str(error) or "the store does not answer")
        return False, None

    async def _take_back(self, record: Record, error: ConnectorError, *, is_new: bool) -> None:
        """Nobody will try it again. A job that only this call ever named is not worth a record."""
        try:
            with anyio.fail_after(_STORE_WITHIN):
                if is_new:
                    await self._store.forget(record.key)
                else:
                    reason = f"could not be cancelled: {presentable(error.message)}"
                    await self._store.set_aside(record.key, reason=reason, still=Attention.DELETE)
        except (StoreUnavailable, TimeoutError):
            log.warning("%s cannot be cancelled, and the store could not be told", record.key)

    async def _note_deleted(self, record: Record) -> None:
        try:
            with anyio.fail_after(_STORE_WITHIN):
                await self._store.note_deleted(record.key)
        except (StoreUnavailable, TimeoutError):
            log.warning("%s was cancelled, and the store could not be told: it will be once more", record.key)

    def _abort(self, request: JobRequest) -> None:
        self._shield.end(request.category, request.meta, Resource(Phase.ABORTED, _REASON))

    @contextmanager
    def _marked(self, key: str) -> Iterator[None]:
        is_first = key not in self._under_way
        self._under_way.add(key)
        try:
            yield
        finally:
            if is_first:
                self._under_way.discard(key)
