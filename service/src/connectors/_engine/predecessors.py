"""The attempt before: when the next one comes, it was abandoned, and its job must not run on beside the new one.

What is done depends on what has become of it, and on whether its results come back inline. A job that nobody ever asked
for, and that runs or has succeeded, is as good as a new one where its results are inline: it is adopted. Where jobs
write under their own attempt's prefix, it is of no use. One that still runs is cancelled before another is created.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from connectors._engine.events import FactObserver, KeyOutcome
from connectors._engine.flights import Flight
from connectors._engine.identity import Run
from connectors._engine.invocation import Invoker, now
from connectors._engine.options import EngineOptions
from connectors._engine.reservation import Reservations, made_by
from connectors._engine.work import Work
from connectors._stores import Claim, Deletion, Record, State, Store
from connectors.errors import ConnectorError, DeadlineExceeded, InvalidRequest, KeyTaken, NotFound, Unavailable
from connectors.models import Phase, Resource

__all__ = ["Predecessors"]

log = logging.getLogger("connectors.engine")
_MOST_LOOKS = 3
_ABANDONED = "abandoned: the next attempt came"


class _Create(Protocol):
    async def __call__(self, flight: Flight[Any], work: Work, proofs: list[bool], *, adopt_within: float) -> bytes: ...


@dataclass(frozen=True)
class _Earlier:
    run: Run
    record: Record


@dataclass(frozen=True)
class Adopted:
    """An earlier attempt's job that a later one takes over."""

    meta: bytes
    key: str
    """Of the earlier attempt."""


class Predecessors:
    """What the earlier attempts of a run left behind."""

    def __init__(
        self,
        store: Store,
        reservations: Reservations,
        invoker: Invoker,
        options: EngineOptions,
        create: _Create,
        *,
        tell: FactObserver,
    ) -> None:
        self._tell = tell
        self._store = store
        self._reservations = reservations
        self._invoker = invoker
        self._options = options
        self._create = create

    async def settle(self, flight: Flight[Any], work: Work) -> Adopted | None:
        """See to it that no earlier attempt's job runs on. Returns the job that this attempt takes over.

        :raises ConnectorError: that cannot be done, or be known, now; no job was made for this attempt.
        """
        earlier = await self._latest(work)
        if earlier is None:
            return None
        record = earlier.record
        if record.adopted_by:
            if record.adopted_by == work.key:
                return Adopted(record.meta or b"", record.key)  # by an earlier try of this attempt
            adopter = await self._store.find(record.adopted_by)
            if adopter is not None and adopter.state is State.DONE:
                return None
        if record.state is not State.DONE:
            found = await self._finish(flight, work, earlier)
            if found is None and await self._store.find(record.key) is None:
                return await self.settle(flight, work)  # it gave its key back, and what came before it may still run
            if found is None:
                return None
            record = found
        return await self._judge(flight, work, record)

    async def _latest(self, work: Work) -> _Earlier | None:
        """The nearest earlier attempt that has a record and is not over. Those before it were seen to when it came."""
        if work.run is None:
            return None
        for run in work.run.earlier():
            record = await self._store.find(run.key)
            if record is None:
                continue
            if record.latest:
                record = await self._store.find(run.key_of(record.latest)) or record
            while record.terminal or record.deletion is not Deletion.NONE or record.state is State.TAKEN:
                later = await self._store.find(run.key_of(record.generation + 1))
                if later is None:
                    break
                record = later
            is_over = record.terminal or record.deletion is Deletion.DONE or record.state is State.TAKEN
            if is_over and record.adopted_by != work.key:
                continue  # it may be of an earlier run of the same name, whose attempts were more
            return _Earlier(run, record)
        return None

    async def _judge(self, flight: Flight[Any], work: Work, record: Record) -> Adopted | None:
        for _ in range(_MOST_LOOKS):
            if record.deletion is not Deletion.NONE:
                await self._cancel(flight, work, record)
                return None
            phase = await self._phase(flight, work, record)
            is_failed = phase.is_terminal and phase is not Phase.SUCCEEDED
            is_wanted = work.connector.results_inline and not record.asked_at and not is_failed
            if not is_wanted:
                if phase.is_terminal:
                    await self._store.note(record.key, terminal=phase.name)
                else:
                    await self._cancel(flight, work, record)
                return None
            if await self._store.set_aside(
                record.key, reason="taken over by the next attempt", adopted_by=work.key, still=record.attention()
            ):
                log.info("%s takes the job of the attempt before over: nobody ever asked for it", work.key)
                return Adopted(record.meta or b"", record.key)
            changed = await self._store.find(record.key)  # a poll came meanwhile, or the job is to be cancelled
            if changed is None:
                return None
            record = changed
        raise Unavailable("the attempt before changes all the time; send the same request again")

    async def end(self, flight: Flight[Any], work: Work, before: Record) -> None:
        """See to it that no job of the run before, of the same name, runs on whose deletion was put off: neither this
        attempt's nor a later one's.

        :raises ConnectorError: it cannot be cancelled now; no job was made.
        """
        left: list[Record | None] = [before]
        for run in work.run.later() if work.run is not None else ():
            record = await self._store.find(run.key)
            left.append(await self._store.find(run.key_of(record.latest)) if record and record.latest else record)
        for record in left:
            if record is not None and record.state is State.DONE and record.deletion is Deletion.WANTED:
                await self._cancel(flight, work, record)

    async def _cancel(self, flight: Flight[Any], work: Work, record: Record) -> None:
        await self._store.want_deletion(record.key, reason=_ABANDONED)
        try:
            await self._call(flight, work, "delete", record.meta or b"")
        except NotFound:
            pass
        await self._store.note_deleted(record.key)
        execution = work.request.metadata.task_execution_id
        self._tell(KeyOutcome(work.task_type, "cancelled", work.key, record.meta or b"", execution=execution))
        log.info("the job of %s was cancelled before that of %s is made", record.key, work.key)

    async def _phase(self, flight: Flight[Any], work: Work, record: Record) -> Phase:
        try:
            found: Resource = await self._call(flight, work, "get", record.meta or b"")
        except NotFound:
            return Phase.FAILED
        return found.phase

    async def _finish(self, flight: Flight[Any], work: Work, earlier: _Earlier) -> Record | None:
        """Carry the earlier attempt's create to its end, under its own key: the platform's dedupe, or the search, gives
        the job that it made, if any. Its record then; None where there is no job.
        """
        record, dedupe = earlier.record, work.connector.dedupe
        theirs = replace(
            work,
            run=earlier.run,
            key=record.key,
            generation=record.generation,
            fingerprint="",
            subject=record.subject,
            request=replace(work.request, output_prefix=earlier.run.output_prefix),
        )
        claim = await self._claim(flight, theirs, dedupe)
        if claim is None:
            try:
                meta, adopts = await self._carry_out(flight, theirs)
            except (KeyTaken, InvalidRequest):
                return None
            return await self._store.remember(made_by(theirs, meta, adopts=adopts))
        if not claim.mine:
            return claim.record if claim.record.state is State.DONE else None
        if not claim.looked_for:  # whoever held the key gave it back: there is no job
            await self._reservations.release(theirs)
            return None
        if dedupe == "none":
            log.warning("what became of the create of %s cannot be known: the platform has no search", record.key)
            await self._reservations.mark_unknown(theirs)
            return None
        try:
            with self._reservations.holding(theirs):
                meta, adopts = await self._carry_out(flight, theirs)
        except KeyTaken:
            await self._reservations.mark_taken(theirs)
            return None
        except BaseException as error:
            await self._reservations.mark_unknown(theirs)
            if isinstance(error, InvalidRequest):
                return None  # the platform refuses it as it is, and so it did before
            raise
        await self._reservations.complete(theirs, meta, adopts=adopts)
        return await self._store.remember(made_by(theirs, meta, adopts=adopts))

    async def _claim(self, flight: Flight[Any], theirs: Work, dedupe: str) -> Claim | None:
        """What comes of the create that holds the key, or the key. None where the platform does not mind two creates of
        one key at once, and a third of the time was spent on waiting.
        """
        if dedupe != "native":
            return await self._reservations.claim_or_wait(theirs, until=lambda: flight.wanted_until)
        start = now()
        try:
            return await self._reservations.claim_or_wait(
                theirs, until=lambda: start + (flight.wanted_until - start) / 3
            )
        except DeadlineExceeded:
            return None

    async def _carry_out(self, flight: Flight[Any], theirs: Work) -> tuple[bytes, str]:
        """The job's meta, and the key of the attempt that it was taken over from, or ""."""
        # It may have been broken off before it had settled what came before it, or while it took a job over.
        adopted = await self.settle(flight, theirs)
        if adopted is not None:
            return adopted.meta, adopted.key
        return await self._create(flight, theirs, [], adopt_within=math.inf), ""

    async def _call(self, flight: Flight[Any], work: Work, operation: str, meta: bytes) -> Any:
        registered, request = work.registered, work.request
        ctx = self._invoker.context(registered, request.caller, deadline=flight.started + self._options.create_timeout)
        job = work.connector.meta_type.decode(meta)
        answer = await self._invoker.call(
            registered, operation, ctx, job, retry_until=lambda: flight.wanted_until, on_attempt=_ignore
        )
        if operation == "get" and not isinstance(answer, Resource):
            raise Unavailable("the state of the attempt before cannot be known: its connector gave no resource")
        return answer


_ignore: Callable[[ConnectorError | None], None] = lambda error: None  # noqa: E731
