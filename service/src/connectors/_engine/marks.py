"""What was seen of a job, written down beside the calls: that its meta was delivered, that a poll came, how it ended.

No call waits for a mark, and a mark that is lost is always safe: nothing is ever cancelled for want of one, but only
for the positive knowledge that an answer reached nobody.

A job that was made while the store was out of reach gets its record when the store is back, and its marks may come
before that. So a mark whose record is not there is kept, and tried again for an hour.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from connectors._engine.invocation import now
from connectors._stores import Record, Store, StoreUnavailable

__all__ = ["Marks"]

log = logging.getLogger("connectors.engine")
_GATHER = 0.05  # seconds: a create's delivery and its first poll, which comes at once, are mostly one write
_MOST = 100_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds between tries while the store is out of reach
_MOST_EARLY = 10_000
_EARLY_FOR = 3_600.0
_FIRST_LOOK, _LONGEST_LOOK = 1.0, 60.0  # seconds between looks for a record that is not there


class _Of(NamedTuple):
    """Whose mark it is: one of both is known."""

    key: str
    job: str = ""


@dataclass(frozen=True)
class _Mark:
    delivered: bool | None = None
    polled: bool = False
    terminal: str = ""

    def after(self, earlier: _Mark | None) -> _Mark:
        """Both in one: proof that something arrived outweighs that something else did not; the first end stands."""
        if earlier is None:
            return self
        return _Mark(
            delivered=earlier.delivered if self.delivered is None else self.delivered or bool(earlier.delivered),
            polled=self.polled or earlier.polled,
            terminal=earlier.terminal or self.terminal,
        )


@dataclass(frozen=True)
class _Early:
    """A mark whose record was not there. Instants on the event loop's clock, and a pause in seconds."""

    mark: _Mark
    until: float
    next_look: float
    pause: float


class Marks:
    """The marks that are not written down yet, one for each job: 100,000 at most, then the oldest are dropped; 10,000
    whose records are not there yet.
    """

    def __init__(self, store: Store, *, most: int = _MOST, most_early: int = _MOST_EARLY) -> None:
        self._store = store
        self._most = most
        self._most_early = most_early
        self._pending: OrderedDict[_Of, _Mark] = OrderedDict()
        self._early: OrderedDict[_Of, _Early] = OrderedDict()
        self._next_look = math.inf
        self._writing: set[_Of] = set()
        self._some = anyio.Event()
        self._turn = anyio.Lock()
        self._is_dropping = False

    def note(self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = "") -> None:
        """Have it written down soon; see :meth:`Store.note`."""
        self._note(_Of(key), _Mark(delivered, polled, terminal))

    def note_end(self, job: str, terminal: str) -> None:
        """Have a job's end written down whose key is not known: by its hash, see :meth:`Store.find_job`."""
        self._note(_Of("", job), _Mark(terminal=terminal))

    def is_pending(self, key: str) -> bool:
        """Whether something about this key is still to be written."""
        of = _Of(key)
        return of in self._pending or of in self._writing or of in self._early

    async def run(self) -> None:
        """Write, for as long as the server lives."""
        pause = _FIRST_PAUSE
        while True:
            with anyio.CancelScope(deadline=self._next_look):
                await self._some.wait()
            await anyio.sleep(_GATHER)
            if await self.flush():
                pause = _FIRST_PAUSE
                continue
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def flush(self) -> bool:
        """Write what is there now. False where the store could not be reached: it stays, for the next time."""
        async with self._turn:
            marks, self._pending = self._pending, OrderedDict()
            self._some = anyio.Event()
            for of in self._take_what_is_due():
                marks.setdefault(of, _Mark())
            self._writing.update(marks)
            try:
                await self._write_all(marks)
            finally:
                self._writing.clear()
                for of, mark in reversed(marks.items()):  # what was not written is older than what came meanwhile
                    newer = self._pending.get(of)
                    self._put(of, newer.after(mark) if newer else mark, oldest=True)
                if self._pending:
                    self._some.set()
            if not marks:
                self._is_dropping = False
            return not marks

    def _take_what_is_due(self) -> list[_Of]:
        """Of the marks that are early; a look at them all is taken once a second at the most."""
        instant = now()
        if instant < self._next_look:
            return []
        due = [of for of, early in self._early.items() if early.next_look <= instant]
        self._next_look = instant + _FIRST_LOOK if self._early else math.inf
        return due

    async def _write_all(self, marks: OrderedDict[_Of, _Mark]) -> None:
        which = iter(list(marks))
        writers: set[asyncio.Task[None]] = set()
        # not anyio's: each of its tasks costs several times as much, and every mark may need one
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._store.together, len(marks))):
                writers.add(group.create_task(self._write(which, marks, writers)))

    async def _write(
        self, which: Iterator[_Of], marks: OrderedDict[_Of, _Mark], writers: Set[asyncio.Task[None]]
    ) -> None:
        for of in which:
            early = self._early.get(of)
            mark = marks[of].after(early.mark if early else None)
            try:
                record = await self._write_one(of, mark)
            except StoreUnavailable as error:
                log.debug("marks could not be written, and are kept: %s", error.message)
                for other in writers - {asyncio.current_task()}:
                    other.cancel()
                return
            except Exception:
                log.exception("the mark of %s could not be written, and is dropped", of.key or of.job)
                self._early.pop(of, None)
            else:
                if record is not None:
                    self._early.pop(of, None)
                else:
                    self._keep(of, mark, early)
            del marks[of]

    async def _write_one(self, of: _Of, mark: _Mark) -> Record | None:
        key = of.key
        if not key:
            record = await self._store.find_job(of.job)
            if record is None:
                return None
            key = record.key
        return await self._store.note(key, delivered=mark.delivered, polled=mark.polled, terminal=mark.terminal)

    def _keep(self, of: _Of, mark: _Mark, early: _Early | None) -> None:
        """There is no record yet."""
        pause = min(2 * early.pause, _LONGEST_LOOK) if early else _FIRST_LOOK
        until = early.until if early else now() + _EARLY_FOR
        if now() >= until:
            log.debug("the mark of %s is dropped: it has no record", of.key or of.job)
            self._early.pop(of, None)
            return
        self._early[of] = _Early(mark, until, now() + pause, pause)
        self._next_look = min(self._next_look, now() + pause)
        while len(self._early) > self._most_early:
            self._early.popitem(last=False)

    def _note(self, of: _Of, mark: _Mark) -> None:
        self._put(of, mark.after(self._pending.get(of)))
        self._some.set()

    def _put(self, of: _Of, mark: _Mark, *, oldest: bool = False) -> None:
        self._pending[of] = mark
        if oldest:
            self._pending.move_to_end(of, last=False)
        while len(self._pending) > self._most:
            self._pending.popitem(last=False)
            if not self._is_dropping:
                self._is_dropping = True
                log.error("more than %d marks wait for the store: the oldest are dropped", self._most)
