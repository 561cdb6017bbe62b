"""CreateTask of an async connector: one job per key, whatever is repeated, lost or killed."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from connectors._engine.events import FactObserver, KeyOutcome, Outcome
from connectors._engine.fingerprint import fingerprint
from connectors._engine.flights import Flight, Flights
from connectors._engine.invocation import Invoker, now
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import bug
from connectors._engine.pauses import Pauses
from connectors._engine.predecessors import Predecessors
from connectors._engine.requests import CreateRequest
from connectors._engine.reservation import Reservations, made_by
from connectors._engine.work import Work
from connectors._stores import Claim, Record, Store, StoreUnavailable
from connectors.errors import ConnectorError, DeadlineExceeded, KeyTaken, Unavailable

__all__ = ["Created", "Creates"]

log = logging.getLogger("connectors.engine")
_MOST_TAKEN = 64
"""Generations that one create looks at where the platform holds an earlier job under each key."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between looks at a store that is out of reach
_AT_ONCE = 0.2
"""Seconds. A create that got this far in less is carried out also when its caller has gone."""


class Created(NamedTuple):
    """What came of a create."""

    meta: bytes
    key: str
    """Of the generation that the job is of."""


class Creates:
    """The creates that are under way in this server."""

    def __init__(
        self,
        store: Store,
        reservations: Reservations,
        invoker: Invoker,
        options: EngineOptions,
        *,
        pauses: Pauses,
        unheard: Callable[[str], None],
        tell: FactObserver,
    ) -> None:
        """:param unheard: told the key of a job whose callers were all gone when its meta was there.

        :param tell: told what came of each key.
        """
        self._pauses = pauses
        self._reservations = reservations
        self._invoker = invoker
        self._options = options
        self._predecessors = Predecessors(store, reservations, invoker, options, self._call, tell=tell)
        self._unheard = unheard
        self._tell_of = tell
        self.flights: Flights[Created] = Flights()

    def start(self, work: Work) -> Flight[Created]:
        """Start the create in a task of the server's."""
        return self.flights.start(work, "create", lambda flight: self._create(flight, work))

    async def _create(self, flight: Flight[Created], work: Work) -> Created:
        for _ in range(_MOST_TAKEN):
            try:
                current, claim, before = await self._claim(flight, work)
            except StoreUnavailable:
                if not _goes_on_without_store(work):
                    raise
                return await self._create_without_store(flight, work)
            if not claim.mine:
                return await self._repeat(flight, current, claim)
            try:
                created = await self._make(flight, current, claim, before)
            except KeyTaken as taken:
                log.info("%s: %s; going on under the next generation", current.key, taken.message)
                continue
            if not flight.waiting:
                self._unheard(created.key)
            return created
        raise KeyTaken(f"the platform holds earlier jobs under {_MOST_TAKEN} keys of this run")

    async def _claim(self, flight: Flight[Created], work: Work) -> tuple[Work, Claim, Record | None]:
        """:raises StoreUnavailable: the store cannot be reached, for as long as there was time."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._reservations.claim_generation(work, until=lambda: flight.wanted_until)
            except StoreUnavailable:
                if _goes_on_without_store(work) or now() + pause >= flight.wanted_until:
                    raise
            await self._reservations.store_back(within=pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _repeat(self, flight: Flight[Created], work: Work, claim: Claim) -> Created:
        """The answer of the create that made this one's job."""
        record = claim.record
        if record.meta is None:
            raise Unavailable(f"the record of {record.key} is broken: it holds no job")
        flight.repeated = True
        self._tell(flight, work, "waited" if claim.waited else "repeated", record.meta)
        if record.fingerprint and not work.fingerprint:
            flight.mismatch = await _fingerprint(work.request) not in ("", record.fingerprint)
            if flight.mismatch:
                log.warning("%s was asked for again with another request; its first job is the answer", record.key)
        return Created(record.meta, record.key)

    async def _make(self, flight: Flight[Created], work: Work, claim: Claim, before: Record | None) -> Created:
        proofs = [not claim.looked_for]
        # where the platform does not dedupe, no create may go on that another server may be making again
        lost = asyncio.timeout(None)
        let_go = None if work.connector.dedupe == "native" else lambda: lost.reschedule(now())
        try:
            with self._reservations.holding(work, let_go=let_go):
                try:
                    async with lost:
                        meta, adopts = await self._job(flight, work, claim, before, proofs)
                except TimeoutError as error:
                    if not lost.expired():
                        raise
                    text = "the store was out of reach for too long; send the same request again"
                    raise Unavailable(text) from error
        except KeyTaken:
            await self._reservations.mark_taken(work)
            raise
        except BaseException as error:
            # every try must prove it: one that was lost on the way may have made the job that the next was refused for
            if isinstance(error, ConnectorError) and not lost.expired() and all(proofs):
                await self._reservations.release(work)
            else:
                self._tell(flight, work, "unknown")
                await self._reservations.mark_unknown(work)
            raise
        self._tell(flight, work, "adopted" if adopts else "new", meta)
        taken = work.fingerprint or await _fingerprint(work.request)
        return Created(await self._reservations.complete(work, meta, fingerprint=taken, adopts=adopts), work.key)

    async def _job(
        self, flight: Flight[Created], work: Work, claim: Claim, before: Record | None, proofs: list[bool]
    ) -> tuple[bytes, str]:
        """The job's meta, and the key of the attempt that it was taken over from, if any."""
        # only now: a create that is repeated is given its job, whatever is paused
        self._pauses.refuse(work.task_type, work.registered.plugin)
        if before is not None:
            await self._predecessors.end(flight, work, before)
        adopted = await self._predecessors.settle(flight, work)
        if adopted is not None:
            return adopted.meta, adopted.key
        # the backend may have gone on to its next attempt, whose create may have come already
        if not flight.waiting and now() - flight.started > _AT_ONCE:
            raise DeadlineExceeded("nobody waits for the job any more; none was made")
        within = math.inf if claim.looked_for else self._options.store_retention
        return await self._call(flight, work, proofs, adopt_within=within), ""

    async def _create_without_store(self, flight: Flight[Created], work: Work) -> Created:
        """The platform makes one job per key by itself; the store is told of it when it is back."""
        self._pauses.refuse(work.task_type, work.registered.plugin)
        log.warning("the store is out of reach: %s goes on without it", work.key)
        for generation in range(_MOST_TAKEN):
            current = work.at(generation)
            try:
                meta = await self._call(flight, current, [], adopt_within=self._options.store_retention)
            except KeyTaken:
                continue
            self._reservations.remember_later(made_by(current, meta))
            self._tell(flight, current, "new", meta)
            if not flight.waiting:
                self._unheard(current.key)
            return Created(meta, current.key)
        raise KeyTaken(f"the platform holds earlier jobs under {_MOST_TAKEN} keys of this run")

    def _tell(self, flight: Flight[Created], work: Work, outcome: Outcome, meta: bytes = b"") -> None:
        execution = work.request.metadata.task_execution_id
        heard = flight.waiting > 0
        self._tell_of(KeyOutcome(work.task_type, outcome, work.key, meta, heard=heard, execution=execution))

    async def _call(self, flight: Flight[Any], work: Work, proofs: list[bool], *, adopt_within: float) -> bytes:
        registered, request = work.registered, work.request
        ctx = self._invoker.context(
            registered,
            request.caller,
            deadline=flight.started + self._options.create_timeout,
            key=work.key,
            output_prefix=request.output_prefix,
            metadata=request.metadata,
            inputs=request.inputs,
            adopt_within=adopt_within,
        )

        def on_attempt(error: ConnectorError | None) -> None:
            flight.attempts += 1
            if error is not None:
                proofs.append(error.proves_no_job)
                if not error.proves_no_job:
                    ctx.adopt_undated()

        meta = await self._invoker.call(
            registered,
            "create",
            ctx,
            request.template(),
            retry_until=lambda: flight.wanted_until,
            on_attempt=on_attempt,
        )
        expected = work.connector.meta_type
        if not isinstance(meta, expected):
            proofs.append(False)
            raise bug(
                work.task_type,
                "create",
                TypeError(f"create returned {type(meta).__name__}, not {expected.__name__}"),
            )
        try:
            encoded = meta.encode()
            expected.decode(encoded)  # or the job could be neither polled nor deleted
        except Exception as error:
            proofs.append(False)
            raise bug(work.task_type, "create", error) from error
        if ctx.secrets.leaks(encoded.decode("utf-8", "replace")):
            proofs.append(False)
            raise bug(work.task_type, "create", ValueError("the resource meta holds a secret's value"))
        return encoded


def _goes_on_without_store(work: Work) -> bool:
    """Whether the platform alone sees to one job. A later attempt needs the store: the one before it may still run."""
    run = work.run
    return work.connector.dedupe == "native" and run is not None and run.attempt == run.first_attempt


async def _fingerprint(request: CreateRequest) -> str:
    """The request's fingerprint, "" where it has none: what cannot be decoded may be what its connector never reads."""
    try:
        return await fingerprint(request)
    except Exception as error:  # noqa: BLE001 - the job is there; nothing of this may lose it
        log.debug("a request has no fingerprint: %s", error)
        return ""
