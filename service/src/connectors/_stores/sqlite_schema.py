"""The tables of a SQLite store, and how a file of an older release gets them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from connectors._stores.record import Record, State, encode_record
from connectors._stores.store import job_of

__all__ = ["MIGRATIONS", "is_usable", "migrate", "schema_of"]


def _carry_over(connection: sqlite3.Connection) -> None:
    """Schema 1 knew a key, its state and its meta, and nothing of what became of the job.

    So a job's record starts anew: not polled, not ended, first of its run. The keys of sync calls, the only ones with
    a slash, go on as the locks that they were.
    """
    old = connection.execute(
        "SELECT key, task_type, fingerprint, state, owner, lease_until, meta, changed FROM records_1"
    )

    def rows() -> Iterator[tuple[object, ...]]:
        for key, task_type, fingerprint, state, owner, lease_until, meta, changed in old:
            done, tracked = state == State.DONE.value, "/" not in key
            record = Record(
                key,
                task_type,
                State(state),
                fingerprint,
                meta,
                run=key,
                owner=owner,
                lease_until=lease_until,
                tracked=tracked,
                job=job_of(task_type, 0, meta) if done and tracked else "",
                created=changed,
                changed=changed,
                done_at=changed if done else 0.0,
            )
            job, attention, since, _ = record.indexed()
            yield key, tracked, job, attention.value, since, changed, lease_until, encode_record(record)

    connection.executemany(
        "INSERT INTO records (key, tracked, job, attention, since, changed, lease_until, doc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows(),
    )


MIGRATIONS: tuple[tuple[str | Callable[[sqlite3.Connection], None], ...], ...] = (
    (
        # Times are seconds since 1970, UTC.
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
    (
        # `doc` is the record, as encode_record() writes it; the other columns repeat what it is looked up by.
        "ALTER TABLE records RENAME TO records_1",
        """
        CREATE TABLE records (
            key TEXT NOT NULL PRIMARY KEY,
            tracked INTEGER NOT NULL,
            job TEXT NOT NULL,
            attention TEXT NOT NULL,
            since REAL NOT NULL,
            changed REAL NOT NULL,
            lease_until REAL NOT NULL,
            doc TEXT NOT NULL
        )
        """,
        _carry_over,
        "DROP TABLE records_1",
        # Partial: most records are over, and are locks or wait for nothing. Each entry is a page more to be written.
        "CREATE INDEX records_tracked ON records (key) WHERE tracked",
        "CREATE INDEX records_by_job ON records (job, changed) WHERE job <> ''",
        "CREATE INDEX records_by_attention ON records (attention, since) WHERE attention <> ''",
        "CREATE INDEX records_by_change ON records (changed)",
    ),
)
"""Entry n brings schema n to schema n + 1. Entries are added, never changed."""

USABLE_FROM = 2
"""The oldest schema whose releases may go on using a file of the newest one, as while one release replaces another.

It stays as long as migrations only add tables, indexes, and columns that have a default.
"""

_FLOOR = 1_000  # `PRAGMA user_version` holds both numbers, as 2002; of schema 1 it was 1, and of an empty file it is 0


def schema_of(user_version: int) -> int:
    """The file's schema; 0 for an empty file."""
    return user_version % _FLOOR


def is_usable(user_version: int) -> bool:
    """Whether this release knows enough of the schema, which may be a newer release's."""
    return (user_version // _FLOOR or user_version) <= len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, user_version: int) -> None:
    """Bring the file to the newest schema. The caller holds the write lock, and commits."""
    for steps in MIGRATIONS[schema_of(user_version) :]:
        for step in steps:
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)
    connection.execute(f"PRAGMA user_version = {USABLE_FROM * _FLOOR + len(MIGRATIONS)}")
