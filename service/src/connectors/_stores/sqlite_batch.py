"""What one SQLite transaction does for all the operations that were waiting when it began.

Each statement gives the interpreter's lock away and has to win it back from a busy event loop, which can take 5 ms each
time; so does each row that is read. So the number of statements does not grow with the number of records, nor that of
rows: all are read as one row, changed in Python, and written back in one statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from connectors._stores.record import Attention, Record, decode_record, encode_record
from connectors._stores.rules import Rule
from connectors._stores.store import Payload

__all__ = ["LIMIT", "LOOKUPS", "Batch", "Page", "Recent", "Work"]

T = TypeVar("T")

LIMIT = 256
"""Operations in one transaction: another server waits for no more, and 256 rows of 8 values are within SQLite's bound
on parameters (32,766 unless it was built with another)."""

RECENT = 1_024
"""Records that a connection keeps, of a kilobyte or two: there are more than the creates that are under way."""

_NONE: Mapping[str, Record] = {}

# Several records are read as one text, a line each: encode_record() writes no line break.
_LOAD_RECORDS = "SELECT group_concat(doc, char(10)) FROM records WHERE key IN ({many})"
_FIND_JOB = "SELECT doc FROM records WHERE job = ? AND job <> '' ORDER BY changed DESC LIMIT 1"
_WAITING = """
    SELECT group_concat(doc, char(10)) FROM (
        SELECT doc FROM records WHERE attention = ? AND attention <> '' AND since <= ? ORDER BY since LIMIT ?)
"""
_PAGE = """
    SELECT group_concat(doc, char(10)), max(key) FROM (
        SELECT key, doc FROM records WHERE tracked AND key {after} ? ORDER BY key LIMIT ?)
"""
_SAVE_RECORDS = """
    INSERT INTO records (key, tracked, job, attention, since, changed, lease_until, doc) VALUES {many}
    ON CONFLICT (key) DO UPDATE SET tracked = excluded.tracked, job = excluded.job, attention = excluded.attention,
        since = excluded.since, changed = excluded.changed, lease_until = excluded.lease_until, doc = excluded.doc
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
_ALIVE = "SELECT count(*) FROM (SELECT key FROM records ORDER BY key LIMIT 1)"

LOOKUPS = (
    _LOAD_RECORDS.format(many="?, ?"),
    _FIND_JOB,
    _WAITING,
    _PAGE.format(after=">="),
    _PAGE.format(after=">"),
    _DELETE_RECORDS.format(many="?, ?"),
    _EXPIRE_RECORDS,
    _LOAD_PAYLOAD,
    _EXPIRE_PAYLOADS,
)
"""The statements that look something up: none may read a whole table, or sort what it found before it is limited."""


class Page(NamedTuple):
    """Some of the records, in the order of their keys."""

    records: list[Record]
    last: str | None
    """The last key of the page; None where there is nothing after it."""


@dataclass(frozen=True, eq=False)
class Work(Generic[T]):
    """One operation, carried out in a transaction that it may share."""

    do: Callable[[Batch], T]
    key: str | None = None
    """What it is about; None: perhaps every key."""
    reads_record: bool = False
    """Whether it needs the key's record."""
    writes: bool = False
    synced: bool = True
    """Whether what it writes must be on the disk before it is answered."""
    alone: bool = False
    """It changes more than what it names, so it has a transaction of its own."""


class Batch:
    """A transaction's view of the store. Changes become visible to later operations at once, and durable together."""

    def __init__(
        self, connection: sqlite3.Connection, keys: Iterable[str], now: float, recent: Mapping[str, Record] = _NONE
    ) -> None:
        """Reads the records of ``keys``.

        :param now: the transaction's time, in seconds since 1970. :param recent: records as the file has them, which
            need not be read.
        """
        self.now = now
        self._connection = connection
        asked = set(keys)
        self._loaded: dict[str, Record] = {key: recent[key] for key in asked & recent.keys()}
        if wanted := sorted(asked - recent.keys()):
            (lines,) = _for_many(connection, _LOAD_RECORDS, "?", [(key,) for key in wanted]).fetchone()
            self._loaded |= {record.key: record for record in _decode(lines)}
        self._records: dict[str, Record | None] = dict(self._loaded)
        self._payloads: dict[tuple[str, Payload], tuple[bytes, float]] = {}

    def record(self, key: str) -> Record | None:
        """The record of one of the keys that were named at first."""
        return self._records.get(key)

    def change(self, key: str, rule: Rule[T]) -> T:
        record, answer = rule(self._records.get(key), self.now)
        self._records[key] = record
        return answer

    def save(self, key: str, kind: Payload, data: bytes, ttl: float) -> None:
        self._payloads[key, kind] = (data, self.now + ttl)

    def load(self, key: str, kind: Payload) -> bytes | None:
        if (key, kind) in self._payloads:
            data, ends = self._payloads[key, kind]
            return data if ends > self.now else None
        found = self._connection.execute(_LOAD_PAYLOAD, (key, kind, self.now)).fetchone()
        return None if found is None else found[0]

    # --- These see what is committed: what the batch holds is not looked at.

    def find_job(self, job: str) -> Record | None:
        found = self._connection.execute(_FIND_JOB, (job,)).fetchone()
        return None if found is None else decode_record(found[0])

    def waiting(self, attention: Attention, older_than: float, limit: int) -> list[Record]:
        (lines,) = self._connection.execute(_WAITING, (attention.value, self.now - older_than, limit)).fetchone()
        return sorted(_decode(lines), key=lambda record: (record.indexed().since, record.key))

    def page(self, after: str | None, limit: int) -> Page:
        """Tracked records. :param after: the last key of the page before; None for the first page."""
        statement = _PAGE.format(after=">=" if after is None else ">")
        lines, last = self._connection.execute(statement, (after or "", limit)).fetchone()
        records = _decode(lines)
        return Page(records, last if len(records) == limit else None)

    def alive(self) -> float:
        """The time, once the file could be read."""
        self._connection.execute(_ALIVE).fetchone()
        return self.now

    def expire(self, older_than: float, limit: int) -> int:
        payloads = self._connection.execute(_EXPIRE_PAYLOADS, (self.now, limit)).rowcount
        oldest = (self.now - older_than, self.now, limit - payloads)
        return payloads + self._connection.execute(_EXPIRE_RECORDS, oldest).rowcount

    # ---

    def flush(self) -> Mapping[str, Record | None]:
        """Write what changed, and return it. The caller commits."""
        changed = {key: record for key, record in self._records.items() if record is not self._loaded.get(key)}
        if rows := [_columns(record) for record in changed.values() if record is not None]:
            _for_many(self._connection, _SAVE_RECORDS, "(?, ?, ?, ?, ?, ?, ?, ?)", rows)
        if gone := [key for key, record in changed.items() if record is None]:
            _for_many(self._connection, _DELETE_RECORDS, "?", [(key,) for key in gone])
        if self._payloads:
            saved = [(key, kind, data, ends) for (key, kind), (data, ends) in self._payloads.items()]
            self._connection.executemany(_SAVE_PAYLOADS, saved)
        return changed


class Recent:
    """What a connection wrote last, for as long as no other one writes: what is written is mostly changed again within
    a second, and to read it costs more than to write it.
    """

    def __init__(self, connection: sqlite3.Connection, *, most: int = RECENT) -> None:
        self._connection = connection
        self._most = most
        self._version = -1
        self._records: dict[str, Record] = {}

    def now(self) -> Mapping[str, Record]:
        """The records that are still as they were written. Asked within the transaction that relies on them
        (https://www.sqlite.org/pragma.html#pragma_data_version).
        """
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self._records.clear()
        return self._records

    def committed(self, changed: Mapping[str, Record | None]) -> None:
        """Take note of what was written."""
        for key, record in changed.items():
            self._records.pop(key, None)
            if record is not None:
                self._records[key] = record
        while len(self._records) > self._most:
            del self._records[next(iter(self._records))]

    def clear(self) -> None:
        """Something else may have been written."""
        self._records.clear()


def _decode(lines: str | None) -> list[Record]:
    return [decode_record(line) for line in lines.split("\n")] if lines else []


def _columns(record: Record) -> tuple[object, ...]:
    job, attention, since, changed = record.indexed()
    doc = encode_record(record)
    return record.key, record.tracked, job, attention.value, since, changed, record.lease_until, doc


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
