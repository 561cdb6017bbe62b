"""What was seen of a job, written down beside the calls: that its meta was delivered, that a poll came, how it ended.

No call waits for a mark, and a mark that is lost is always safe: nothing is ever cancelled for want of one, but only
for the positive knowledge that an answer reached nobody.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import anyio

from connectors._stores import Store, StoreUnavailable

__all__ = ["Marks"]

log = logging.getLogger("connectors.engine")
_GATHER = 0.05  # seconds: a create's delivery and its first poll, which comes at once, are mostly one write
_WRITERS = 16
_MOST = 100_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds between tries while the store is out of reach


@dataclass(frozen=True)
class _Mark:
    delivered: bool | None
    polled: bool
    terminal: str

    def after(self, earlier: _Mark | None) -> _Mark:
        """Both in one: proof that something arrived outweighs that something else did not; the first end stands."""
        if earlier is None:
            return self
        return _Mark(
            delivered=earlier.delivered if self.delivered is None else self.delivered or bool(earlier.delivered),
            polled=self.polled or earlier.polled,
            terminal=earlier.terminal or self.terminal,
        )


class Marks:
    """The marks that are not written down yet, one for each key: 100,000 at most, then the oldest are dropped."""

    def __init__(self, store: Store, *, most: int = _MOST) -> None:
        self._store = store
        self._most = most
        self._pending: OrderedDict[str, _Mark] = OrderedDict()
        self._writing: set[str] = set()
        self._some = anyio.Event()
        self._turn = anyio.Lock()
        self._is_dropping = False

    def note(self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = "") -> None:
        """Have it written down soon; see :meth:`Store.note`."""
        self._put(key, _Mark(delivered, polled, terminal).after(self._pending.get(key)))
        self._some.set()

    def is_pending(self, key: str) -> bool:
        """Whether something about this key is still to be written."""
        return key in self._pending or key in self._writing

    async def run(self) -> None:
        """Write, for as long as the server lives."""
        pause = _FIRST_PAUSE
        while True:
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
            self._writing.update(marks)
            try:
                await self._write_all(marks)
            finally:
                self._writing.clear()
                for key, mark in reversed(marks.items()):  # what was not written is older than what came meanwhile
                    newer = self._pending.get(key)
                    self._put(key, newer.after(mark) if newer else mark, oldest=True)
                if self._pending:
                    self._some.set()
            if not marks:
                self._is_dropping = False
            return not marks

    async def _write_all(self, marks: OrderedDict[str, _Mark]) -> None:
        keys = iter(list(marks))
        async with anyio.create_task_group() as writers:
            for _ in range(min(_WRITERS, len(marks))):
                writers.start_soon(self._write, keys, marks, writers.cancel_scope)

    async def _write(self, keys: Iterator[str], marks: OrderedDict[str, _Mark], others: anyio.CancelScope) -> None:
        for key in keys:
            mark = marks[key]
            try:
                await self._store.note(key, delivered=mark.delivered, polled=mark.polled, terminal=mark.terminal)
            except StoreUnavailable as error:
                log.debug("marks could not be written, and are kept: %s", error.message)
                others.cancel()
                return
            except Exception:
                log.exception("the mark of %s could not be written, and is dropped", key)
            del marks[key]

    def _put(self, key: str, mark: _Mark, *, oldest: bool = False) -> None:
        self._pending[key] = mark
        if oldest:
            self._pending.move_to_end(key, last=False)
        while len(self._pending) > self._most:
            self._pending.popitem(last=False)
            if not self._is_dropping:
                self._is_dropping = True
                log.error("more than %d marks wait for the store: the oldest are dropped", self._most)
