"""Opens a SQLite file as a store: makes it where there is none, refuses what is not ours, updates its schema."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from connectors._stores.store import StoreUnavailable

__all__ = ["MIGRATIONS", "open_database"]

APPLICATION_ID = 0x436E6374
"""Marks the file as ours (https://www.sqlite.org/pragma.html#pragma_application_id): "Cnct" in ASCII."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Times are seconds since 1970, UTC. The columns of `records` are the fields of `records.Row`.
        """
        CREATE TABLE records (
            key TEXT NOT NULL PRIMARY KEY,
            task_type TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            state TEXT NOT NULL,
            owner TEXT NOT NULL,
            lease_until REAL NOT NULL,
            meta BLOB,
            changed REAL NOT NULL
        )
        """,
        "CREATE INDEX records_by_change ON records (changed)",
        """
        CREATE TABLE payloads (
            key TEXT NOT NULL,
            kind TEXT NOT NULL,
            data BLOB NOT NULL,
            ends REAL NOT NULL,
            PRIMARY KEY (key, kind)
        )
        """,
        "CREATE INDEX payloads_by_end ON payloads (ends)",
    ),
)
"""Entry n brings schema n (``PRAGMA user_version``) to schema n + 1. Entries are added, never changed."""


def open_database(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """A connection for the calling thread, in autocommit mode, to a file with the newest schema.

    :param busy_timeout: seconds to wait, here and in every statement, while another process holds the file's lock.
    :raises StoreUnavailable: with one sentence that names the file and says why.
    """
    try:
        _make(path)
    except OSError as error:
        raise StoreUnavailable(f"the SQLite store {path} cannot be opened: {error.strerror}") from error
    give_up = time.monotonic() + busy_timeout
    while True:
        try:
            return _connect(path, busy_timeout)
        except sqlite3.Error as error:
            # SQLite does not wait by itself while two processes switch a new file to WAL.
            if _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() < give_up:
                time.sleep(0.01)
                continue
            if _code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                raise StoreUnavailable(f"{path} is not a SQLite database, or is damaged") from error
            raise StoreUnavailable(f"the SQLite store {path} cannot be opened: {error}") from error


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
            raise NotADirectoryError(0, f"{folder} is no folder")
        folder.mkdir(mode=0o700, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder") from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(0, "this user may not read and write it") from None


def _connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        _check(connection, path)  # first: nothing in a file that is not ours is to be changed
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnavailable(
                f"the SQLite store {path} cannot be shared on this file system: it must be a local disk's"
            )
        # A reservation must be on the disk before the platform hears of it, or a power cut makes a second job.
        # NORMAL would survive a killed process but not that. One sync serves all that commit together.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema; 0 for an empty file. In one transaction, since another server may be creating the schema.

    :raises StoreUnavailable: the file is another program's, or a newer version's.
    """
    own_transaction = not connection.in_transaction
    if own_transaction:
        connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if own_transaction:
        connection.execute("COMMIT")
    if application != APPLICATION_ID and (application or tables or schema):
        raise StoreUnavailable(f"{path} is another program's SQLite database")
    if schema > len(MIGRATIONS):
        newest = len(MIGRATIONS)
        raise StoreUnavailable(
            f"{path} is of a newer version of this service: schema {schema}, this one knows {newest}"
        )
    return int(schema)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _check(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    for statements in MIGRATIONS[_check(connection, path) :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
