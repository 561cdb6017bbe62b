"""Holding a key in the store while its work goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import anyio
from anyio.abc import TaskGroup

from connectors._engine.invocation import now
from connectors._engine.options import EngineOptions
from connectors._engine.waiting import Signal
from connectors._engine.work import Work
from connectors._stores import Claim, Record, State, Store, StoreUnavailable
from connectors._stores.watched import WatchedStore
from connectors.errors import Conflict, DeadlineExceeded, Unavailable

__all__ = ["KeyUsed", "Reservations", "made_by"]

log = logging.getLogger("connectors.engine")
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.5  # seconds between looks at another server's work
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between tries to write down what a store out of reach missed
_MOST_UNWRITTEN = 10_000


class KeyUsed(Conflict):
    """This idempotency-key was used for another request: a key belongs to one request."""


class Reservations:
    """This server's claims on keys, each in the name of the work that made it."""

    def __init__(self, store: Store, tasks: TaskGroup, options: EngineOptions) -> None:
        self._store = store
        self._tasks = tasks
        self._options = options
        self._lease = options.lease
        self._unwritten = 0

    async def claim(self, work: Work) -> Claim:
        """Reserve the key now, or learn who has it.

        :raises KeyUsed: the key is that of another request.
        """
        claim = await self._store.reserve(
            work.key,
            owner=work.owner,
            lease=self._lease,
            task_type=work.task_type,
            version=work.request.category.version,
            run=work.run.key if work.run else "",
            generation=work.generation,
            fingerprint=work.fingerprint,
            subject=work.subject,
            over_after=self._options.rerun_after if work.run and work.run.identity else None,
        )
        if work.fingerprint and not claim.over and claim.record.fingerprint != work.fingerprint:
            if claim.mine:
                await self.mark_unknown(work)
            raise KeyUsed
        return claim

    async def claim_or_wait(self, work: Work, *, until: Callable[[], float]) -> Claim:
        """As :meth:`claim`; while another server holds the key, wait for what comes of it.

        :raises DeadlineExceeded: it is still held at ``until()``.
        """
        pause, waited = _FIRST_LOOK, False
        while True:
            claim = await self.claim(work)
            if claim.mine or claim.over or claim.record.state is not State.RESERVED:
                return claim._replace(waited=True) if waited else claim
            if asyncio.get_running_loop().time() + pause >= until():
                raise DeadlineExceeded(
                    "another server is still at work on this request; the same request again gets its answer"
                )
            await anyio.sleep(pause)
            pause, waited = min(2 * pause, _LONGEST_LOOK), True

    async def claim_generation(self, work: Work, *, until: Callable[[], float]) -> tuple[Work, Claim, Record | None]:
        """Claim the run's latest generation that is not over: the work under its key, the claim, and the record of the
        generation before, where that was looked at.

        What is over stays over, so that servers which walk at the same time meet at the same generation.

        :raises StoreUnavailable: the store cannot be reached, and nothing is known of the run.
        """
        before = None
        while True:
            try:
                claim = await self.claim_or_wait(work, until=until)
            except StoreUnavailable as error:
                if work.generation:  # generation 0 is known to be over: its job is not the answer
                    raise Unavailable(error.message) from error
                raise
            if not claim.over:
                if claim.mine and work.generation:
                    await self._advance(claim.record.run, work.generation)
                return work, claim, before
            before = claim.record
            work = work.at(max(work.generation + 1, claim.record.latest))

    async def _advance(self, run: str, generation: int) -> None:
        try:
            await self._store.advance(run, generation)
        except StoreUnavailable as error:  # without it, the next create walks a few steps more
            log.debug("the generation of %s could not be written down: %s", run, error)

    async def complete(self, work: Work, meta: bytes, *, fingerprint: str = "", adopts: str = "") -> bytes:
        """The work is done; returns the meta that stands: another's, where the key was lost to one who finished.

        Where the store is out of reach, it is told when it is back.
        """
        stands = meta

        async def write() -> bool:
            nonlocal stands
            if await self._store.complete(
                work.key, owner=work.owner, meta=meta, fingerprint=fingerprint, adopts=adopts
            ):
                return True
            record = await self._store.find(work.key)
            if record is not None and record.meta is not None:
                stands = record.meta
            return False

        if not await self._note(work, write):
            self.remember_later(made_by(work, meta, fingerprint, adopts))
        return stands

    def remember_later(self, record: Record) -> None:
        """Write down a job that the store was not told of, as soon as the store can be reached."""
        if self._unwritten >= _MOST_UNWRITTEN:
            log.error("the job of %s is not written down: %d wait for the store already", record.key, self._unwritten)
            return
        self._tasks.start_soon(self._remember, record)

    async def _remember(self, record: Record) -> None:
        self._unwritten += 1
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    await self._store.remember(record)
                    return
                except Exception as error:  # noqa: BLE001 - whatever it is, the next round may succeed
                    log.debug("the job of %s could not be written down yet: %s", record.key, error)
                await self.store_back(within=pause)  # another server may be asked for the job already
                pause = min(2 * pause, _LONGEST_PAUSE)
        except asyncio.CancelledError:
            log.error("the server ends before the store could be told of the job of %s: %r", record.key, record.meta)
            raise
        finally:
            self._unwritten -= 1

    async def store_back(self, *, within: float) -> None:
        """Return once the store is found back, or else after ``within`` seconds: then it is time for another try."""
        store = self._store
        if isinstance(store, WatchedStore) and store.down_since is not None:
            with anyio.move_on_after(within):
                await store.wait_up()
        else:
            await anyio.sleep(within)

    async def mark_unknown(self, work: Work) -> None:
        """The work ended without proof; the next try looks for what it may have left."""
        await self._note(work, partial(self._store.mark_unknown, work.key, owner=work.owner))

    async def mark_taken(self, work: Work) -> None:
        """The platform holds another job under the key: the run goes on under its next generation."""
        await self._note(work, partial(self._store.mark_taken, work.key, owner=work.owner))

    async def release(self, work: Work) -> None:
        """The work left nothing behind."""
        await self._note(work, partial(self._store.release, work.key, owner=work.owner))

    async def _note(self, work: Work, write: Callable[[], Awaitable[bool]]) -> bool:
        """Whether the store was reached. A cancellation that comes meanwhile comes too late: at the server's end, what
        was done is written down all the same.
        """
        try:
            return await _written(work, write)
        except asyncio.CancelledError:
            # Sent again, as everything may be: whether it arrived is not known. To have it in a task of its own from
            # the first would cost each create 50 µs.
            again, over = asyncio.create_task(_written(work, write, repeated=True)), Signal()
            again.add_done_callback(lambda _: over.give())
            await over.wait()
            return again.result()

    @contextmanager
    def holding(self, work: Work, *, let_go: Callable[[], None] | None = None) -> Iterator[None]:
        """Keep the lease of a key that is this server's from running out.

        :param let_go: called once when it ran out, or was lost, all the same: another server may now begin.
        """
        loop, held_until = asyncio.get_running_loop(), now() + self._lease
        renewing: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal renewing
            renewing = loop.create_task(self._renew(work, held_until, let_go))

        # a timer first: most work is done long before the lease is to be renewed, and a task for each costs 60 µs
        timer = loop.call_later(self._lease / 3, begin)
        try:
            yield
        finally:
            timer.cancel()
            if renewing is not None:
                renewing.cancel()

    async def _renew(self, work: Work, held_until: float, let_go: Callable[[], None] | None) -> None:
        while True:
            asked = now()
            try:
                async with asyncio.timeout(self._lease / 3):
                    held = await self._store.renew(work.key, owner=work.owner, lease=self._lease)
                if not held:
                    log.warning("the reservation of %s was lost to another server", work.key)
                    break
                held_until = asked + self._lease
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round may succeed
                log.warning("the reservation of %s could not be renewed: %s", work.key, error)
                if let_go is not None and now() + self._lease / 3 >= held_until:
                    break  # before the next round, the lease is over
            await asyncio.sleep(self._lease / 3)
        if let_go is not None:
            let_go()


async def _written(work: Work, write: Callable[[], Awaitable[bool]], *, repeated: bool = False) -> bool:
    try:
        if not await write() and not repeated:  # where the first arrived, there may be nothing left to write
            log.warning("the reservation of %s was lost to another server before its end was written", work.key)
        return True
    except Exception as error:  # noqa: BLE001 - the answer is there, and must not be lost for this
        log.error("the end of %s could not be written: %s", work.key, error)
    return False


def made_by(work: Work, meta: bytes, fingerprint: str = "", adopts: str = "") -> Record:
    """The record of a job that ``work`` made."""
    category = work.request.category
    return Record(
        work.key,
        category.name,
        State.DONE,
        work.fingerprint or fingerprint,
        meta,
        version=category.version,
        run=work.run.key if work.run else work.key,
        generation=work.generation,
        owner=work.owner,
        tracked=work.subject is not None,
        subject=work.subject or {},
        adopts=adopts,
    )
