"""Holding a key in the store while its work goes on."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from connectors._engine.work import Work
from connectors._stores.store import Claim, State, Store, StoreUnavailable
from connectors.errors import Conflict, DeadlineExceeded

__all__ = ["ANOTHER_REQUEST", "Reservations"]

ANOTHER_REQUEST = "this idempotency-key was used for another request: a key belongs to one request"

log = logging.getLogger("connectors.engine")
_WRITE_TIMEOUT = 5.0
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.5  # seconds between looks at another server's work


class Reservations:
    """This server's claims on keys."""

    def __init__(self, store: Store, tasks: TaskGroup, *, lease: float) -> None:
        self.owner = str(uuid.uuid4())
        self.store = store
        self._tasks = tasks
        self._lease = lease

    async def claim(self, key: str, task_type: str, fingerprint: str = "") -> Claim:
        """Reserve the key now, or learn who has it.

        :param fingerprint: of the request, where its caller chose the key; else "".
        :raises Conflict: the key is that of another request.
        """
        claim = await self.store.reserve(
            key, owner=self.owner, lease=self._lease, task_type=task_type, fingerprint=fingerprint
        )
        if fingerprint and claim.record.fingerprint != fingerprint:
            if claim.mine:
                await self.mark_unknown(key)
            raise Conflict(ANOTHER_REQUEST)
        return claim

    async def claim_or_wait(self, work: Work, *, until: Callable[[], float]) -> Claim:
        """As :meth:`claim`; while another server holds the key, wait for what comes of it.

        :raises DeadlineExceeded: it is still held at ``until()``.
        """
        pause = _FIRST_LOOK
        while True:
            claim = await self.claim(work.key, work.task_type, work.fingerprint)
            if claim.mine or claim.record.state is not State.RESERVED:
                return claim
            if asyncio.get_running_loop().time() + pause >= until():
                raise DeadlineExceeded(
                    "another server is still at work on this request; the same request again gets its answer"
                )
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)

    async def complete(self, key: str, meta: bytes) -> None:
        """The work is done. A store that is out of reach loses this, not the answer: the lease runs out, and the repeat
        finds the job on the platform.
        """
        await self._note(key, self.store.complete(key, owner=self.owner, meta=meta))

    async def mark_unknown(self, key: str) -> None:
        """The work ended without proof; the next try looks for what it may have left."""
        await self._note(key, self.store.mark_unknown(key, owner=self.owner))

    async def release(self, key: str) -> None:
        """The work left nothing behind."""
        await self._note(key, self.store.release(key, owner=self.owner))

    async def _note(self, key: str, write: Awaitable[bool]) -> None:
        # shielded: this is written also when the work was cancelled, at the server's end
        with anyio.move_on_after(_WRITE_TIMEOUT, shield=True) as scope:
            try:
                if not await write:
                    log.warning("the reservation of %s was lost to another server before its end was written", key)
            except StoreUnavailable as error:
                log.error("the end of %s could not be written: %s", key, error.message)
        if scope.cancelled_caught:
            log.error("the end of %s could not be written in %.3g s", key, _WRITE_TIMEOUT)

    @asynccontextmanager
    async def holding(self, key: str) -> AsyncIterator[None]:
        """Keep the lease of a key that is this server's from running out."""
        scope = anyio.CancelScope()
        self._tasks.start_soon(self._renew, key, scope)
        try:
            yield
        finally:
            scope.cancel()

    async def _renew(self, key: str, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                await anyio.sleep(self._lease / 3)
                try:
                    if not await self.store.renew(key, owner=self.owner, lease=self._lease):
                        log.warning("the reservation of %s was lost to another server", key)
                        return
                except StoreUnavailable as error:
                    log.warning("the reservation of %s could not be renewed: %s", key, error.message)
