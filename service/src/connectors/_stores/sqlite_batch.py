"""What one SQLite transaction does for all the operations that were waiting when it began.

Each statement gives the interpreter's lock away and has to win it back from a busy event loop, which can take 5 ms each
time. So the number of statements does not grow with the number of records: all are read as one row, changed in Python,
and written back in one statement.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from connectors._stores.rules import Row, Rule
from connectors._stores.store import Payload, State

__all__ = ["LIMIT", "LOOKUPS", "Batch", "Work"]

T = TypeVar("T")

LIMIT = 256
"""Operations in one transaction: another server waits for no more, and 256 rows of 8 values are within SQLite's bound
on parameters (32,766 unless it was built with another)."""

# One JSON array of all the rows. SQLite prints a REAL with 15 digits: for times, to the hundred-thousandth of a second.
_LOAD_RECORDS = """
    SELECT json_group_array(json_array(
        key, task_type, fingerprint, state, owner, lease_until, CASE WHEN meta IS NOT NULL THEN hex(meta) END, changed))
    FROM records WHERE key IN ({many})
"""
_SAVE_RECORDS = """
    INSERT INTO records (key, task_type, fingerprint, state, owner, lease_until, meta, changed) VALUES {many}
    ON CONFLICT (key) DO UPDATE SET state = excluded.state, owner = excluded.owner, lease_until = excluded.lease_until,
        meta = excluded.meta, changed = excluded.changed
"""
_DELETE_RECORDS = "DELETE FROM records WHERE key IN ({many})"
_EXPIRE_RECORDS = """
    DELETE FROM records WHERE rowid IN (
        SELECT rowid FROM records WHERE changed <= ? AND lease_until <= ? ORDER BY changed LIMIT ?)
"""
_LOAD_PAYLOAD = "SELECT data FROM payloads WHERE key = ? AND kind = ? AND ends > ?"
_SAVE_PAYLOADS = "INSERT OR REPLACE INTO payloads (key, kind, data, ends) VALUES (?, ?, ?, ?)"
_EXPIRE_PAYLOADS = (
    "DELETE FROM payloads WHERE rowid IN (SELECT rowid FROM payloads WHERE ends <= ? ORDER BY ends LIMIT ?)"
)

LOOKUPS = (
    _LOAD_RECORDS.format(many="?, ?"),
    _DELETE_RECORDS.format(many="?, ?"),
    _EXPIRE_RECORDS,
    _LOAD_PAYLOAD,
    _EXPIRE_PAYLOADS,
)
"""The statements that look something up: none may read a whole table."""


@dataclass(frozen=True, eq=False)
class Work(Generic[T]):
    """One operation, carried out in a transaction that it may share."""

    do: Callable[[Batch], T]
    key: str | None = None
    """Of the record that it needs."""
    writes: bool = True
    alone: bool = False
    """It changes more than what it names, so it has a transaction of its own."""


class Batch:
    """A transaction's view of the store. Changes become visible to later operations at once, and durable together."""

    def __init__(self, connection: sqlite3.Connection, keys: Iterable[str], now: float) -> None:
        """Reads the records of ``keys``. :param now: the transaction's time, in seconds since 1970."""
        self.now = now
        self._connection = connection
        self._loaded: dict[str, Row] = {}
        if wanted := sorted(set(keys)):
            (rows,) = _for_many(connection, _LOAD_RECORDS, "?", [(key,) for key in wanted]).fetchone()
            for key, task_type, fingerprint, state, owner, lease_until, meta, changed in json.loads(rows):
                data = None if meta is None else bytes.fromhex(meta)
                self._loaded[key] = Row(key, task_type, fingerprint, State(state), owner, lease_until, data, changed)
        self._rows: dict[str, Row | None] = dict(self._loaded)
        self._payloads: dict[tuple[str, Payload], tuple[bytes, float]] = {}

    def row(self, key: str) -> Row | None:
        """The record of one of the keys that were named at first."""
        return self._rows.get(key)

    def change(self, key: str, rule: Rule[T]) -> T:
        row, answer = rule(self._rows.get(key), self.now)
        self._rows[key] = row
        return answer

    def save(self, key: str, kind: Payload, data: bytes, ttl: float) -> None:
        self._payloads[key, kind] = (data, self.now + ttl)

    def load(self, key: str, kind: Payload) -> bytes | None:
        if (key, kind) in self._payloads:
            data, ends = self._payloads[key, kind]
            return data if ends > self.now else None
        found = self._connection.execute(_LOAD_PAYLOAD, (key, kind, self.now)).fetchone()
        return None if found is None else found[0]

    def expire(self, older_than: float, limit: int) -> int:
        """For a transaction of its own: what the batch holds is not looked at."""
        payloads = self._connection.execute(_EXPIRE_PAYLOADS, (self.now, limit)).rowcount
        oldest = (self.now - older_than, self.now, limit - payloads)
        return payloads + self._connection.execute(_EXPIRE_RECORDS, oldest).rowcount

    def flush(self) -> None:
        """Write what changed. The caller commits."""
        changed = {key: row for key, row in self._rows.items() if row is not self._loaded.get(key)}
        if rows := [row for row in changed.values() if row is not None]:
            _for_many(self._connection, _SAVE_RECORDS, "(?, ?, ?, ?, ?, ?, ?, ?)", [_columns(row) for row in rows])
        if gone := [key for key, row in changed.items() if row is None]:
            _for_many(self._connection, _DELETE_RECORDS, "?", [(key,) for key in gone])
        if self._payloads:
            saved = [(key, kind, data, ends) for (key, kind), (data, ends) in self._payloads.items()]
            self._connection.executemany(_SAVE_PAYLOADS, saved)


def _columns(row: Row) -> tuple[object, ...]:
    return (*row[:3], row.state.value, *row[4:])


def _for_many(
    connection: sqlite3.Connection, statement: str, place: str, items: list[tuple[object, ...]]
) -> sqlite3.Cursor:
    """The statement, once, for all the items.

    Repeating one changes nothing: the last is repeated up to a power of two, so that nine forms of each statement,
    which stay prepared, serve any number.
    """
    size = 1 << (len(items) - 1).bit_length()
    values = [value for item in items + items[-1:] * (size - len(items)) for value in item]
    return connection.execute(statement.format(many=", ".join([place] * size)), values)
