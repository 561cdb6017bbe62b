"""Holding a key in the store while its work goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from connectors._engine.work import Work
from connectors._stores.store import Claim, State, Store
from connectors.errors import Conflict, DeadlineExceeded

__all__ = ["ANOTHER_REQUEST", "Reservations"]

ANOTHER_REQUEST = "this idempotency-key was used for another request: a key belongs to one request"

log = logging.getLogger("connectors.engine")
_WRITE_TIMEOUT = 5.0
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.5  # seconds between looks at another server's work


class Reservations:
    """This server's claims on keys, each in the name of the work that made it."""

    def __init__(self, store: Store, tasks: TaskGroup, *, lease: float) -> None:
        self._store = store
        self._tasks = tasks
        self._lease = lease

    async def claim(self, work: Work) -> Claim:
        """Reserve the key now, or learn who has it.

        :raises Conflict: the key is that of another request.
        """
        claim = await self._store.reserve(
            work.key, owner=work.owner, lease=self._lease, task_type=work.task_type, fingerprint=work.fingerprint
        )
        if work.fingerprint and claim.record.fingerprint != work.fingerprint:
            if claim.mine:
                await self.mark_unknown(work)
            raise Conflict(ANOTHER_REQUEST)
        return claim

    async def claim_or_wait(self, work: Work, *, until: Callable[[], float]) -> Claim:
        """As :meth:`claim`; while another server holds the key, wait for what comes of it.

        :raises DeadlineExceeded: it is still held at ``until()``.
        """
        pause = _FIRST_LOOK
        while True:
            claim = await self.claim(work)
            if claim.mine or claim.record.state is not State.RESERVED:
                return claim
            if asyncio.get_running_loop().time() + pause >= until():
                raise DeadlineExceeded(
                    "another server is still at work on this request; the same request again gets its answer"
                )
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)

    async def complete(self, work: Work, meta: bytes) -> bytes:
        """The work is done; returns the meta that stands: another's, where the key was lost to one who finished.

        A store that is out of reach loses this, not the answer: the lease runs out, and the repeat finds the job on
        the platform.
        """

        async def write() -> bool:
            nonlocal meta
            if await self._store.complete(work.key, owner=work.owner, meta=meta):
                return True
            record = await self._store.find(work.key)
            if record is not None and record.meta is not None:
                meta = record.meta
            return False

        await self._note(work, write())
        return meta

    async def mark_unknown(self, work: Work) -> None:
        """The work ended without proof; the next try looks for what it may have left."""
        await self._note(work, self._store.mark_unknown(work.key, owner=work.owner))

    async def release(self, work: Work) -> None:
        """The work left nothing behind."""
        await self._note(work, self._store.release(work.key, owner=work.owner))

    async def _note(self, work: Work, write: Awaitable[bool]) -> None:
        # shielded: this is written also when the work was cancelled, at the server's end
        with anyio.move_on_after(_WRITE_TIMEOUT, shield=True) as scope:
            try:
                if not await write:
                    log.warning("the reservation of %s was lost to another server before its end was written", work.key)
            except Exception as error:  # noqa: BLE001 - the answer is there, and must not be lost for this
                log.error("the end of %s could not be written: %s", work.key, error)
        if scope.cancelled_caught:
            log.error("the end of %s could not be written in %.3g s", work.key, _WRITE_TIMEOUT)

    @asynccontextmanager
    async def holding(self, work: Work) -> AsyncIterator[None]:
        """Keep the lease of a key that is this server's from running out."""
        scope = anyio.CancelScope()
        self._tasks.start_soon(self._renew, work, scope)
        try:
            yield
        finally:
            scope.cancel()

    async def _renew(self, work: Work, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                await anyio.sleep(self._lease / 3)
                try:
                    if not await self._store.renew(work.key, owner=work.owner, lease=self._lease):
                        log.warning("the reservation of %s was lost to another server", work.key)
                        return
                except Exception as error:  # noqa: BLE001 - whatever it is, the next round may succeed
                    log.warning("the reservation of %s could not be renewed: %s", work.key, error)
