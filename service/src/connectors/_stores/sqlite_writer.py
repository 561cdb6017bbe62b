"""The one thread that touches a SQLite file. What arrives while a transaction commits shares the next one."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from connectors._stores.sqlite_batch import LIMIT, Batch, Work
from connectors._stores.store import StoreUnavailable

__all__ = ["SqliteWriter"]

T = TypeVar("T")


@dataclass(eq=False)
class _Pending:
    work: Work[Any]
    caller: asyncio.Future[Any]
    answer: Any = None
    error: Exception | None = None


def _settle(batch: Sequence[_Pending]) -> None:
    """On the event loop. A caller that was cancelled has its answer dropped."""
    for pending in batch:
        if pending.caller.done():
            continue
        if pending.error is not None:
            pending.caller.set_exception(pending.error)
        else:
            pending.caller.set_result(pending.answer)


class SqliteWriter:
    """Carries out work in the order in which it came. A caller that is cancelled stops waiting; its work is still done.

    Belongs to the event loop that :meth:`start` ran on.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], clock: Callable[[], float]) -> None:
        """:param connect: called on the thread. :param clock: seconds since 1970; read once for each transaction."""
        self._connect = connect
        self._clock = clock
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()  # None: the end
        self._held: _Pending | None = None  # taken from the queue, but not fit for the batch that was being gathered
        self._thread: threading.Thread | None = None
        self._open = False

    async def start(self) -> None:
        """:raises StoreUnavailable: as ``connect`` raised it."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        opened: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a process that ends without closing the store loses nothing by it, and must not hang.
        self._thread = threading.Thread(
            target=self._run, args=(opened, self._ended), name="connectors-sqlite", daemon=True
        )
        self._thread.start()
        try:
            await opened
        except asyncio.CancelledError:
            self._queue.put(None)
            raise
        self._open = True

    async def run(self, work: Work[T]) -> T:
        """:raises StoreUnavailable: the file cannot be read or written now, or the store is closed."""
        if not self._open:
            raise StoreUnavailable
        pending = _Pending(work, self._loop.create_future())
        self._queue.put(pending)
        answer: T = await pending.caller
        return answer

    async def aclose(self) -> None:
        """Close the file when all that was asked for is done."""
        if self._thread is None:
            return
        if self._open:
            self._open = False
            self._queue.put(None)
        await self._ended.wait()
        self._thread.join()

    # ------------------------------------------------------------------------------------------------------- the thread

    def _run(self, opened: asyncio.Future[None], ended: asyncio.Event) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - raised by start()
            self._tell(partial(_settle, [_Pending(_NOTHING, opened, error=error)]))
        else:
            self._tell(partial(_settle, [_Pending(_NOTHING, opened)]))
            while batch := self._gather():
                self._carry_out(connection, batch)
            connection.close()
        self._tell(ended.set)

    def _gather(self) -> list[_Pending]:
        """Waits for work, then takes all there is that can share a transaction; empty at the end."""
        first = self._held or self._queue.get()
        self._held = None
        if first is None:
            return []
        batch = [first]
        while len(batch) < LIMIT and not first.work.alone:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._queue.put(None)  # nothing comes after it: this is its place again
                break
            if following.work.alone:
                self._held = following
                break
            batch.append(following)
        return batch

    def _carry_out(self, connection: sqlite3.Connection, batch: Sequence[_Pending]) -> None:
        try:
            self._transact(connection, batch)
        except Exception as error:  # noqa: BLE001 - raised in the callers
            _roll_back(connection)
            if len(batch) > 1 and not _is_the_file(error):
                for pending in batch:  # one of them cannot be written: the others shall not suffer for it
                    self._carry_out(connection, [pending])
                return
            for pending in batch:
                pending.error = _for_caller(error)
        self._tell(partial(_settle, batch))

    def _transact(self, connection: sqlite3.Connection, batch: Sequence[_Pending]) -> None:
        # A transaction that may write takes the write lock at once: what it reads then stays true until it commits.
        connection.execute("BEGIN IMMEDIATE" if any(pending.work.writes for pending in batch) else "BEGIN")
        keys = [pending.work.key for pending in batch if pending.work.key is not None]
        view = Batch(connection, keys, self._clock())
        for pending in batch:
            pending.answer = pending.work.do(view)
        view.flush()
        connection.execute("COMMIT")

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass


_NOTHING: Work[None] = Work(lambda batch: None)


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("ROLLBACK")
    except sqlite3.Error:  # SQLite has done so itself, or no transaction had begun
        pass


def _is_the_file(error: Exception) -> bool:
    """Whether the fault lies with the file or its disk (locked, full, damaged), and not with what was to be written."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _for_caller(error: Exception) -> Exception:
    """Each caller has an exception of its own; what SQLite said is chained, for the log."""
    if not _is_the_file(error):
        return error
    unavailable = StoreUnavailable()
    unavailable.__cause__ = error
    return unavailable
