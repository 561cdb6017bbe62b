"""Records in a SQLite file: the embedded default. Any number of servers on one machine may share the file."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from connectors._stores.record import Attention, Record
from connectors._stores.rules import RecordStore, Rule
from connectors._stores.sqlite_batch import LIMIT, Batch, Work
from connectors._stores.sqlite_file import open_database
from connectors._stores.sqlite_thread import SqliteThread
from connectors._stores.store import Payload

__all__ = ["SqliteStore", "default_path", "from_url"]

T = TypeVar("T")

PAGE = 256
"""Records that a walk over all of them reads at a time: other lookups wait for no more."""


def from_url(rest: str) -> SqliteStore:
    """The store for what follows ``sqlite://``: an absolute path, percent-encoded, or nothing for :func:`default_path`.

    :raises ValueError: it is no absolute path of a file.
    """
    if not rest:
        return SqliteStore(default_path())
    path = unquote(rest)
    if not path.startswith("/") or path.endswith("/") or "\0" in path or "?" in rest or "#" in rest:
        raise ValueError(
            "a SQLite store is named by the absolute path of its file: sqlite:///var/lib/connectors/connectors.db"
        )
    return SqliteStore(Path(path))


def default_path() -> Path:
    """``connectors/connectors.db`` in the user's state folder: ``$XDG_STATE_HOME``, else ``~/.local/state``
    (https://specifications.freedesktop.org/basedir-spec/latest/).

    :raises ValueError: the user has no home folder.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # unset, or to be ignored by the specification
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError as error:
            raise ValueError(
                "this user has no home folder: name the store's file, as in sqlite:///path/of/the.db"
            ) from error
    return state / "connectors" / "connectors.db"


class SqliteStore(RecordStore):
    """On a local disk: SQLite's WAL mode does not work over a network file system.

    What was answered outlives a killed process; a power cut too, but for the very last metas, whose keys are then
    RESERVED again. Times are the machine's clock, which all servers that can share the file have in common; where it
    is set back, leases last longer by as much.

    Changes and lookups have a thread and a connection each, so that a lookup waits neither for a full batch of changes
    nor for another process's lock. Only a lookup by key waits for what this server has asked to be done to that key;
    the others answer what was committed.
    """

    together = LIMIT  # they share a transaction

    def __init__(self, path: Path, *, busy_timeout: float = 5.0, clock: Callable[[], float] = time.time) -> None:
        """:param path: absolute. :param busy_timeout: seconds to wait for other processes' transactions, which take
        milliseconds, before the store counts as unavailable. :param clock: seconds since 1970.
        """
        connect = partial(open_database, path, busy_timeout=busy_timeout)
        self._lookups = SqliteThread(partial(connect, lookups_only=True), clock)
        self._changes = SqliteThread(connect, clock, outlives=self._lookups)

    async def start(self) -> None:
        await self._changes.start()
        try:
            await self._lookups.start()
        except BaseException:
            self._changes.end()
            raise

    async def aclose(self) -> None:
        self._lookups.end()
        self._changes.end()
        await self._lookups.aclose()
        await self._changes.aclose()

    async def _change(self, key: str, rule: Rule[T], *, synced: bool = True) -> T:
        work = Work(lambda batch: batch.change(key, rule), key, reads_record=True, writes=True, synced=synced)
        return await self._changes.run(work)

    def _thread_for(self, key: str) -> SqliteThread:
        return self._changes if self._changes.is_changing(key) else self._lookups

    async def now(self) -> float:
        return await self._lookups.run(Work(lambda batch: batch.alive()))

    async def find(self, key: str) -> Record | None:
        return await self._thread_for(key).run(Work(lambda batch: batch.record(key), key, reads_record=True))

    async def find_job(self, job: str) -> Record | None:
        return await self._lookups.run(Work(lambda batch: batch.find_job(job)))

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        return await self._lookups.run(Work(lambda batch: batch.waiting(attention, older_than, limit)))

    async def records(self) -> AsyncIterator[Record]:
        after: str | None = None
        while True:
            page = await self._lookups.run(Work(partial(Batch.page, after=after, limit=PAGE)))
            for record in page.records:
                yield record
            if page.last is None:
                return
            after = page.last

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        await self._changes.run(Work(lambda batch: batch.save(key, kind, data, ttl), key, writes=True))

    async def load(self, key: str, kind: Payload) -> bytes | None:
        return await self._thread_for(key).run(Work(lambda batch: batch.load(key, kind), key))

    async def expire(self, *, older_than: float, limit: int = 1_000) -> int:
        return await self._changes.run(Work(lambda batch: batch.expire(older_than, limit), writes=True, alone=True))
