"""A thread with a connection of its own to a SQLite file. What arrives during a transaction shares the next one."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from connectors._stores.sqlite_batch import LIMIT, Batch, Recent, Work
from connectors._stores.sqlite_file import sync_commits
from connectors._stores.store import StoreUnavailable

__all__ = ["SqliteThread"]

T = TypeVar("T")


@dataclass(eq=False)
class _Pending:
    work: Work[Any]
    caller: asyncio.Future[Any]
    answer: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        """On the event loop. A caller that was cancelled has its answer dropped."""
        if self.caller.done():
            return
        if self.error is not None:
            self.caller.set_exception(self.error)
        else:
            self.caller.set_result(self.answer)


_Queue = queue.SimpleQueue[_Pending | None]  # None: the end


class SqliteThread:
    """Carries out work in the order in which it came. A caller that is cancelled stops waiting; its work is still done.

    Belongs to the event loop that :meth:`start` ran on.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        clock: Callable[[], float],
        *,
        outlives: SqliteThread | None = None,
    ) -> None:
        """:param connect: called on the thread. :param clock: seconds since 1970; read once for each transaction.
        :param outlives: the file is closed after that thread closed it: only the last to close it tidies up, which two
        at once would leave to each other.
        """
        self._connect = connect
        self._clock = clock
        self._outlives = outlives
        self._queue: _Queue = queue.SimpleQueue()
        self._held: _Pending | None = None  # taken from the queue, but not fit for the batch that was being gathered
        self._unfinished: Counter[str | None] = Counter()
        self._thread: threading.Thread | None = None
        self._open = False
        self._recent: Recent  # the thread's own, as is the next
        self._is_synced: bool

    async def start(self) -> None:
        """:raises StoreUnfit, StoreUnavailable: as ``connect`` raised it."""
        await self.aclose()  # what an earlier start left, when it failed or was cancelled
        self._queue = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        opened: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a process that ends without closing the store loses nothing by it, and must not hang.
        self._thread = threading.Thread(
            target=self._run, args=(opened, self._ended), name="connectors-sqlite", daemon=True
        )
        self._thread.start()
        self._open = True
        try:
            await opened
        except asyncio.CancelledError:
            self.end()
            raise
        except Exception:
            self._open = False
            raise

    async def run(self, work: Work[T]) -> T:
        """:raises StoreUnavailable: the file cannot be read or written now, or the store is closed."""
        if not self._open:
            raise StoreUnavailable
        pending = _Pending(work, self._loop.create_future())
        if work.writes:
            self._unfinished[work.key] += 1
        self._queue.put(pending)
        answer: T = await pending.caller
        return answer

    def is_changing(self, key: str) -> bool:
        """Whether something that was asked for, and is not done yet, may change what is kept under the key."""
        return key in self._unfinished or None in self._unfinished

    def end(self) -> None:
        """Take no more work; the file is closed when all that was asked for is done."""
        if self._open:
            self._open = False
            self._queue.put(None)

    async def aclose(self) -> None:
        """:meth:`end`, and wait until the file is closed."""
        if self._thread is None:
            return
        self.end()
        await self._ended.wait()
        self._thread.join()

    def _settle(self, batch: Sequence[_Pending]) -> None:
        for pending in batch:
            if pending.work.writes:
                self._unfinished[pending.work.key] -= 1
                if not self._unfinished[pending.work.key]:
                    del self._unfinished[pending.work.key]
            pending.settle()

    # ------------------------------------------------------------------------------------------------------- the thread

    def _run(self, opened: asyncio.Future[None], ended: asyncio.Event) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - raised by start()
            self._tell(_Pending(_NOTHING, opened, error=error).settle)
        else:
            self._tell(_Pending(_NOTHING, opened).settle)
            self._recent, self._is_synced = Recent(connection), True  # as the connection was opened
            while batch := self._gather():
                self._carry_out(connection, batch)
            if self._outlives and self._outlives._thread:
                self._outlives._thread.join()
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
            self._recent.clear()  # whether a commit that failed was one is not known
            if len(batch) > 1 and not _is_the_file(error):
                for pending in batch:  # one of them cannot be written: the others shall not suffer for it
                    self._carry_out(connection, [pending])
                return
            for pending in batch:
                pending.error = _for_caller(error)
        self._tell(partial(self._settle, batch))

    def _transact(self, connection: sqlite3.Connection, batch: Sequence[_Pending]) -> None:
        # What may write takes the write lock at once: what it reads then stays true until it commits. Lookups are one
        # statement each, which is a transaction by itself.
        writes = any(pending.work.writes for pending in batch)
        if writes:
            self._sync_commits(connection, any(pending.work.writes and pending.work.synced for pending in batch))
            connection.execute("BEGIN IMMEDIATE")
        keys = [pending.work.key for pending in batch if pending.work.key is not None and pending.work.reads_record]
        view = Batch(connection, keys, self._clock(), self._recent.now() if writes else {})
        if batch[0].work.alone:
            self._recent.clear()
        for pending in batch:
            pending.answer = pending.work.do(view)
        if writes:
            changed = view.flush()
            connection.execute("COMMIT")
            self._recent.committed(changed)

    def _sync_commits(self, connection: sqlite3.Connection, synced: bool) -> None:
        if synced is not self._is_synced:
            sync_commits(connection, synced)
            self._is_synced = synced

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
