"""Opens a SQLite file as a store: makes it where there is none, refuses what is not ours, updates its schema."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path

from connectors._stores.sqlite_schema import MIGRATIONS, is_usable, migrate, schema_of
from connectors._stores.store import StoreUnavailable, StoreUnfit

__all__ = ["open_database", "sync_commits"]

APPLICATION_ID = 0x436E6374
"""Marks the file as ours (https://www.sqlite.org/pragma.html#pragma_application_id): "Cnct" in ASCII."""

_PASSING_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}
)
_PASSING_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,  # a lock, too
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
    }
)


def open_database(path: Path, *, busy_timeout: float, lookups_only: bool = False) -> sqlite3.Connection:
    """A connection for the calling thread, in autocommit mode, to a file with the newest schema.

    :param busy_timeout: seconds to wait, here and in every statement, while another process holds the file's lock.
    :param lookups_only: nothing can be written through it, once it is open.
    :raises StoreUnfit: with one sentence that names the file and says why it can never be used as it is.
    :raises StoreUnavailable: likewise, where that may pass: it is locked, or the disk is full.
    """
    try:
        _make(path)
    except OSError as error:
        kind = StoreUnavailable if error.errno in _PASSING_ERRNOS else StoreUnfit
        raise kind(f"the SQLite store {path} cannot be opened: {error.strerror}") from error
    give_up = time.monotonic() + busy_timeout
    while True:
        try:
            return _connect(path, busy_timeout, lookups_only)
        except ValueError as error:
            raise StoreUnfit(f"{path} holds what is no record of this service: {error}") from error
        except sqlite3.Error as error:
            code = _code(error)
            # SQLite does not wait by itself while two processes switch a new file to WAL.
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() < give_up:
                time.sleep(0.01)
                continue
            if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                raise StoreUnfit(f"{path} is not a SQLite database, or is damaged") from error
            kind = StoreUnavailable if code in _PASSING_CODES else StoreUnfit
            raise kind(f"the SQLite store {path} cannot be opened: {error}") from error


def _code(error: sqlite3.Error) -> int | None:
    """The primary result code (https://www.sqlite.org/rescode.html); None where the error is not from SQLite itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _make(path: Path) -> None:
    """The file and the folders that lead to it, for this user alone. What exists already keeps its mode.

    An existing file is never opened here: closing it again would drop the locks that another connection of this process
    has on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    for folder in reversed(path.parents):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder")
        folder.mkdir(mode=0o700, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder") from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, "this user may not read and write it") from None


def _connect(path: Path, busy_timeout: float, lookups_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        _check(connection, path)  # first: nothing in a file that is not ours is to be changed
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnfit(f"the SQLite store {path} cannot be shared on this file system: it must be a local disk's")
        sync_commits(connection, True)
        connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
        _migrate(connection, path)
        connection.execute(f"PRAGMA query_only = {lookups_only:d}")
    except BaseException:
        connection.close()
        raise
    return connection


def sync_commits(connection: sqlite3.Connection, synced: bool) -> None:
    """Whether a commit waits for the disk, until the next call of this.

    A reservation must be on the disk before the platform hears of it, or a power cut makes a second job. What is not
    synced survives a killed process but not that; the log is one file, so that the next sync is that commit's too
    (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """The file's ``user_version``. In one transaction, since another server may be creating the schema.

    :raises StoreUnfit: the file is another program's, or a newer release's that this one may not share it with.
    """
    own_transaction = not connection.in_transaction
    if own_transaction:
        connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if own_transaction:
        connection.execute("COMMIT")
    if application != APPLICATION_ID and (application or tables or version):
        raise StoreUnfit(f"{path} is another program's SQLite database")
    if not is_usable(version):
        newest = len(MIGRATIONS)
        raise StoreUnfit(
            f"{path} is of a newer version of this service: schema {schema_of(version)}, this one knows {newest}"
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if schema_of(_check(connection, path)) >= len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _check(connection, path)  # another server may have done it meanwhile
    if schema_of(version) < len(MIGRATIONS):
        migrate(connection, version)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("COMMIT")
