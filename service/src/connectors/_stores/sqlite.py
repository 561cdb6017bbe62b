"""Records in a SQLite file: the embedded default. Any number of servers on one machine may share the file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from connectors._stores.rules import RecordStore, Rule
from connectors._stores.sqlite_batch import Work
from connectors._stores.sqlite_file import open_database
from connectors._stores.sqlite_writer import SqliteWriter
from connectors._stores.store import Payload, Record

__all__ = ["SqliteStore", "default_path", "from_url"]

T = TypeVar("T")


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

    What was answered is on the disk: it outlives a killed process and a power cut. Times are the machine's clock, which
    all servers that can share the file have in common; where it is set back, leases last longer by as much.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0, clock: Callable[[], float] = time.time) -> None:
        """:param path: absolute. :param busy_timeout: seconds to wait for other processes' transactions, which take
        milliseconds, before the store counts as unavailable. :param clock: seconds since 1970.
        """
        self._writer = SqliteWriter(partial(open_database, path, busy_timeout=busy_timeout), clock)

    async def start(self) -> None:
        await self._writer.start()

    async def aclose(self) -> None:
        await self._writer.aclose()

    async def _change(self, key: str, rule: Rule[T]) -> T:
        return await self._writer.run(Work(lambda batch: batch.change(key, rule), key=key))

    async def find(self, key: str) -> Record | None:
        row = await self._writer.run(Work(lambda batch: batch.row(key), key=key, writes=False))
        return row and row.record()

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        await self._writer.run(Work(lambda batch: batch.save(key, kind, data, ttl)))

    async def load(self, key: str, kind: Payload) -> bytes | None:
        return await self._writer.run(Work(lambda batch: batch.load(key, kind), writes=False))

    async def expire(self, *, older_than: float, limit: int = 1_000) -> int:
        return await self._writer.run(Work(lambda batch: batch.expire(older_than, limit), alone=True))
