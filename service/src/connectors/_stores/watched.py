"""A store of which it is known whether it can be reached. Keeps no records: it hands every call on.

While the store is out of reach calls fail at once, so that no caller waits for a time-out that tells what is known
already; one a second is let through, and a task of its own looks for the store until it is back. The same task asks a
store that nobody else calls, so that an outage does not go by unnoticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar

from connectors._stores.record import Attention, Record
from connectors._stores.store import Claim, Payload, Store, StoreUnavailable, StoreUnfit

__all__ = ["StoreFault", "StoreObserver", "WatchedStore", "unobserved"]

log = logging.getLogger("connectors.stores")
T = TypeVar("T")
_START_WITHIN = 30.0  # seconds: a start may migrate the schema
_ANSWER_WITHIN = 5.0  # seconds for any other call
_LOOK_EVERY = 1.0  # seconds while it is out of reach, a quarter more or less: not all servers look at once
_GREET_EVERY = 5.0  # seconds without a call while it is in reach, likewise
StoreFault = Literal["unavailable", "refused", "cancelled", "other"]
"""``unavailable``: it did not answer, or cannot be used. ``refused``: it was not asked, being known to be out of reach.
``cancelled``: whoever asked gave up. ``other``: a bug."""
StoreObserver = Callable[[str, float | None, StoreFault | None], None]
_PROBE = "probe"  # the key of the payload that a look writes; no other key looks like it


def unobserved(operation: str, seconds: float | None, fault: StoreFault | None) -> None:
    """Takes no note."""


class WatchedStore(Store):
    """Wraps a store. Every method raises :class:`StoreUnavailable` after 5 s at the latest, also where the store itself
    raised OSError or TimeoutError, or has become unfit while it was in use.
    """

    def __init__(self, store: Store, observe: StoreObserver = unobserved) -> None:
        """:param observe: told of each call: the method's name, its seconds (None: the store was not asked), and what
        went wrong, if anything.
        """
        self._store = store
        self.at_once, self.together = store.at_once, store.together
        self._observe = observe
        self._is_started = False
        self._time: Callable[[], float] = _now
        self._keeper: asyncio.Task[None] | None = None
        self._next_try = 0.0
        self._answered_at = 0.0
        self._changes = 0
        self._is_up = asyncio.Event()
        self._is_lost = asyncio.Event()
        self.down_since: float | None = None
        """The instant, on the event loop's clock, from which on the store has been out of reach; None while it is in
        reach, and before the start."""
        self.up_since = math.inf
        """The instant, on the same clock, from which on it has been in reach without a break; infinite while it is not.
        What seems to have happened, or not, before it is no ground for a judgment: this server could not write it
        down."""
        self.fault = ""
        """Why it is out of reach, in words that hold no password; "" while it is in reach."""
        self.outages = 0
        """How often it went out of reach."""

    async def wait_up(self) -> None:
        """Return once the store is in reach. It may be gone again at the next call."""
        await self._is_up.wait()

    async def start(self) -> None:
        """As the store's own, but one that cannot be reached now is no error: it is looked for from here on.

        :raises StoreUnfit: it cannot be used, and waiting does not help.
        """
        self._time = asyncio.get_running_loop().time  # every call asks twice: the loop is not looked up each time
        try:
            await _answer(self._store.start(), _START_WITHIN)
        except StoreUnavailable as error:
            self._lose(error)
        else:
            self._is_started = True
            self._find()
        self._keeper = asyncio.create_task(self._keep_watch())

    async def aclose(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        try:
            await _answer(self._store.aclose(), _ANSWER_WITHIN)
        except StoreUnavailable as error:
            log.warning("the idempotency store could not be closed in good order: %s", error.message)

    # --- in and out of reach

    async def _watch(self, operation: str, call: Coroutine[Any, Any, T]) -> T:
        started, seen, is_try = self._time(), self._changes, self.down_since is not None
        if is_try:
            if not self._is_started or started < self._next_try:
                call.close()
                self._observe(operation, None, "refused")
                raise StoreUnavailable(f"the idempotency store is out of reach: {self.fault}")
            self._next_try = started + _LOOK_EVERY
        fault: StoreFault | None = "other"
        try:
            answer = await (call if self.at_once else _answer(call, _ANSWER_WITHIN))
            fault = None
        except StoreUnfit as error:
            fault = "unavailable"
            self._fail(error, seen)
            raise StoreUnavailable(error.message) from error
        except StoreUnavailable as error:
            fault = "unavailable"
            self._fail(error, seen)
            raise
        except asyncio.CancelledError:
            fault = "cancelled"
            raise
        finally:
            ended = self._time()
            self._observe(operation, ended - started, fault)
        self._answered_at = ended
        if is_try and self._changes == seen:
            self._find()
        return answer

    def _fail(self, error: StoreUnavailable | StoreUnfit, seen: int) -> None:
        # a call that began before the last change proves nothing of what is the case since
        if self.down_since is None and self._changes == seen:
            self._lose(error)

    def _lose(self, error: StoreUnavailable | StoreUnfit) -> None:
        now = _now()
        self.down_since, self.up_since, self._next_try = now, math.inf, now + _LOOK_EVERY
        self.fault = error.message
        self.outages += 1
        self._changes += 1
        self._is_up.clear()
        self._is_lost.set()
        log.error(
            "the idempotency store is out of reach: %s", self.fault, extra={"fields": {"event": "store_out_of_reach"}}
        )

    def _find(self) -> None:
        now = _now()
        if self.down_since is not None:
            seconds = now - self.down_since
            log.warning(
                "the idempotency store is back after %.3g s", seconds, extra={"fields": {"event": "store_back"}}
            )
        self.down_since, self.up_since, self.fault = None, now, ""
        self._changes += 1
        self._is_lost.clear()
        self._is_up.set()

    async def _keep_watch(self) -> None:
        while True:
            if self.down_since is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_about(_GREET_EVERY)):
                        await self._is_lost.wait()
            else:
                await asyncio.sleep(_about(_LOOK_EVERY))
            if self.down_since is not None:  # lost a moment ago it is looked for at once: it may be one connection
                await self._look()
            elif _now() - self._answered_at >= _GREET_EVERY / 2:
                await self._greet()

    async def _greet(self) -> None:
        try:
            await self.now()
        except StoreUnavailable:
            pass  # it was taken note of where it was raised
        except Exception:
            log.exception("the idempotency store could not be asked for the time")

    async def _look(self) -> None:
        seen = self._changes
        try:
            if self._is_started:
                # a write: a store that became read-only, or whose disk is full, still answers questions
                await _answer(self._store.save(_PROBE, "fresh", b"", ttl=1), _ANSWER_WITHIN)
            else:
                await _answer(self._store.start(), _START_WITHIN)
                self._is_started = True
        except StoreUnavailable as error:
            if self._changes == seen:
                self.fault = error.message
        except Exception as error:
            fault = error.message if isinstance(error, StoreUnfit) else f"an internal error, {type(error).__name__}"
            if self._changes == seen and fault != self.fault:
                self.fault = fault
                log.error("the idempotency store cannot be used: %s", fault, exc_info=error)
        else:
            if self._changes == seen:
                self._find()

    # --- the calls

    async def reserve(self, key: str, **asked: Any) -> Claim:
        return await self._watch("reserve", self._store.reserve(key, **asked))

    async def renew(self, key: str, *, owner: str, lease: float) -> bool:
        return await self._watch("renew", self._store.renew(key, owner=owner, lease=lease))

    async def complete(self, key: str, *, owner: str, meta: bytes, fingerprint: str = "", adopts: str = "") -> bool:
        return await self._watch(
            "complete", self._store.complete(key, owner=owner, meta=meta, fingerprint=fingerprint, adopts=adopts)
        )

    async def mark_unknown(self, key: str, *, owner: str) -> bool:
        return await self._watch("mark_unknown", self._store.mark_unknown(key, owner=owner))

    async def mark_taken(self, key: str, *, owner: str) -> bool:
        return await self._watch("mark_taken", self._store.mark_taken(key, owner=owner))

    async def release(self, key: str, *, owner: str) -> bool:
        return await self._watch("release", self._store.release(key, owner=owner))

    async def advance(self, run: str, generation: int) -> None:
        await self._watch("advance", self._store.advance(run, generation))

    async def remember(self, record: Record) -> Record:
        return await self._watch("remember", self._store.remember(record))

    async def note(
        self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = ""
    ) -> Record | None:
        return await self._watch("note", self._store.note(key, delivered=delivered, polled=polled, terminal=terminal))

    async def want_deletion(
        self, key: str, *, reason: str, job: Record | None = None, still: Attention | None = None
    ) -> Record | None:
        return await self._watch("want_deletion", self._store.want_deletion(key, reason=reason, job=job, still=still))

    async def claim_deletion(self, key: str, *, hold: float) -> Record | None:
        return await self._watch("claim_deletion", self._store.claim_deletion(key, hold=hold))

    async def note_deleted(self, key: str) -> None:
        await self._watch("note_deleted", self._store.note_deleted(key))

    async def set_aside(self, key: str, *, reason: str, adopted_by: str = "", still: Attention | None = None) -> bool:
        return await self._watch(
            "set_aside", self._store.set_aside(key, reason=reason, adopted_by=adopted_by, still=still)
        )

    async def forget(self, key: str) -> bool:
        return await self._watch("forget", self._store.forget(key))

    async def now(self) -> float:
        return await self._watch("now", self._store.now())

    async def find(self, key: str) -> Record | None:
        return await self._watch("find", self._store.find(key))

    async def find_job(self, job: str) -> Record | None:
        return await self._watch("find_job", self._store.find_job(job))

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        return await self._watch("waiting", self._store.waiting(attention, older_than=older_than, limit=limit))

    async def records(self) -> AsyncIterator[Record]:
        found = aiter(self._store.records())
        try:
            while (record := await self._watch("records", _next(found))) is not None:
                yield record
        finally:
            if isinstance(found, AsyncGenerator):
                await found.aclose()

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        await self._watch("save", self._store.save(key, kind, data, ttl=ttl))

    async def drop(self, key: str, kind: Payload) -> None:
        await self._watch("drop", self._store.drop(key, kind))

    async def load(self, key: str, kind: Payload) -> bytes | None:
        return await self._watch("load", self._store.load(key, kind))

    async def expire(self, *, older_than: float, limit: int = 1_000) -> int:
        return await self._watch("expire", self._store.expire(older_than=older_than, limit=limit))


async def _answer(call: Awaitable[T], within: float) -> T:
    try:
        async with asyncio.timeout(within):
            return await call
    except TimeoutError as error:
        raise StoreUnavailable("the idempotency store did not answer in time") from error
    except OSError as error:
        raise StoreUnavailable(f"the idempotency store cannot be reached: {type(error).__name__}") from error


async def _next(records: AsyncIterator[Record]) -> Record | None:
    return await anext(records, None)


def _about(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads servers out, guards nothing


def _now() -> float:
    return asyncio.get_running_loop().time()
