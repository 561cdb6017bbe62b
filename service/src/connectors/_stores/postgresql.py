"""Records in PostgreSQL 12 or newer, shared by any number of servers; also through a pooler in transaction mode."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple, TypeVar

try:
    import psycopg  # noqa: F401 - what the modules below need
except ImportError as error:  # a ValueError, as from_url() raises for whatever else is wrong with a URL
    raise ValueError(
        "a PostgreSQL store needs a package that is not installed: pip install 'connectors-service[postgresql]'"
    ) from error

from connectors._stores import postgresql_statements as sql
from connectors._stores.postgresql_address import parse_address
from connectors._stores.postgresql_link import Link, Row, ServerError, Value
from connectors._stores.postgresql_pool import Pool
from connectors._stores.postgresql_schema import prepare
from connectors._stores.record import Attention, Record, decode_record, encode_record
from connectors._stores.rules import RecordStore, Rule
from connectors._stores.store import Payload

__all__ = ["PostgresStore", "from_url"]

T = TypeVar("T")

_START = 60.0
"""Seconds for the start, in which another server's migration may have to be waited for."""
_KNOWN = 512
"""How many records are remembered as they were last seen."""
_AGAIN = frozenset({"40001", "40P01"})
"""What the server could not bring into an order with others' statements: serialization failure and deadlock."""


def from_url(url: str) -> PostgresStore:
    """The store for a URL as libpq reads it: ``postgresql://user:password@host:port/database?sslmode=…``.

    :raises ValueError: it is no such URL. The message repeats nothing of it.
    """
    return PostgresStore(url)


class _Seen(NamedTuple):
    doc: str
    record: Record


class PostgresStore(RecordStore):
    """Each method is one statement, or a few that each stand alone; a record changes only from the very text that the
    change was worked out from.

    What was answered is as safe as the server's ``synchronous_commit`` makes it, but for the very last metas, whose
    keys are RESERVED again where the server's machine loses power. Times are the server's clock.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None, timeout: float = 2.0) -> None:
        """:param url: as for :func:`from_url`. :param clock: seconds since 1970; the server's where None.
        :param timeout: seconds for an operation, beside the time to connect where that is needed.

        :raises ValueError: as :func:`from_url`.
        """
        self._address = parse_address(url)
        self._pool = Pool(self._address, timeout=timeout)
        self._clock = clock
        self._ahead: float | None = None
        """The server's clock, less the event loop's."""
        self._known: OrderedDict[str, _Seen] = OrderedDict()

    async def start(self) -> None:
        await self._pool.open(partial(prepare, name=self._address.name), timeout=_START)

    async def aclose(self) -> None:
        self._pool.close()

    async def now(self) -> float:
        return float((await self._ask(sql.NOW, self._time()))[0][0] or 0)

    async def find(self, key: str) -> Record | None:
        return _first(await self._ask(sql.FIND, _column(key)))

    async def find_job(self, job: str) -> Record | None:
        return _first(await self._ask(sql.FIND_JOB, job))

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        rows = await self._ask(sql.WAITING, self._time(), attention.value, older_than, limit)
        return [decode_record(row[0] or b"") for row in rows]

    async def records(self) -> AsyncIterator[Record]:
        start = ""
        while rows := await self._ask(sql.PAGE, start):
            for key, doc in rows:
                start = (key or b"").decode() + "\x01"  # the next text after the key, in the order of bytes without NUL
                yield decode_record(doc or b"")

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        await self._ask(sql.SAVE, self._time(), _column(key), kind, data, ttl)

    async def load(self, key: str, kind: Payload) -> bytes | None:
        rows = await self._ask(sql.LOAD, self._time(), _column(key), kind)
        # as \x and hexadecimal digits: https://www.postgresql.org/docs/current/datatype-binary.html
        return bytes.fromhex((rows[0][0] or b"")[2:].decode()) if rows else None

    async def expire(self, *, older_than: float, limit: int = 1_000) -> int:
        payloads = _count(await self._ask(sql.EXPIRE_PAYLOADS, self._time(), limit))
        if payloads >= limit:
            return payloads
        return payloads + _count(await self._ask(sql.EXPIRE_RECORDS, self._time(), older_than, limit - payloads))

    async def _ask(self, statement: str, *values: Value) -> list[Row]:
        return await self._pool.run(lambda link: link.ask(statement, *values))

    async def _change(self, key: str, rule: Rule[T], *, synced: bool = True) -> T:
        return await self._pool.run(lambda link: self._change_on(link, key, rule, synced))

    async def _change_on(self, link: Link, key: str, rule: Rule[T], synced: bool) -> T:
        """At first the change is worked out from what is remembered of the key (where that is nothing: that it is new)
        and of the server's clock. The statement that writes it holds both against the truth, so that the steps of a
        create take one round trip each; where either is wrong, nothing is written and the truth is read.
        """
        seen, guess, tries = self._known.get(key), self._guess(), 0
        while True:
            if guess is None:
                seen, now = await self._read(link, key)
                self._remember(key, seen)
            else:
                now = guess
            before = seen.record if seen else None
            after, answer = rule(before, now)
            if after is not before:
                new = _Seen(encode_record(after), after) if after is not None else None
                if await self._write(link, key, seen, new, guess=guess, synced=synced):
                    self._remember(key, new)
                    return answer
                tries += 1
            elif guess is None:
                return answer
            guess = None
            if tries > 1:  # others change the same key; it goes on until the operation's time is over
                await asyncio.sleep(random.uniform(0, min(0.05, 0.001 * 2**tries)))  # noqa: S311 - a pause is no secret

    async def _read(self, link: Link, key: str) -> tuple[_Seen | None, float]:
        sent = asyncio.get_running_loop().time()
        [(clock, doc)] = await link.ask(sql.READ, self._time(), _column(key))
        now = self._learn(clock, sent)
        return (None if doc is None else _Seen(doc.decode(), decode_record(doc))), now

    async def _write(
        self, link: Link, key: str, old: _Seen | None, new: _Seen | None, *, guess: float | None, synced: bool
    ) -> bool:
        """Whether the record still was ``old``, and is ``new`` now.

        :param guess: the time that the change was worked out with, unless the server told it.
        """
        update = sql.UPDATE if synced else sql.UPDATE_UNSYNCED
        statement, columns = (sql.DELETE if new is None else update if old else sql.INSERT), _columns(new)
        was = [old.doc] if old else []
        sent = asyncio.get_running_loop().time()
        try:
            rows = await link.ask(statement, self._time(), _column(key), guess, *columns, *was)
        except ServerError as error:
            if error.sqlstate not in _AGAIN:
                raise
            return False
        if rows:
            self._learn(rows[0][0], sent)
        return bool(rows)

    def _learn(self, clock: bytes | None, sent: float) -> float:
        """What the server's clock said when a statement that was sent at ``sent`` reached it."""
        now = float(clock or 0)
        self._ahead = now - sent
        return now

    def _time(self) -> float | None:
        return None if self._clock is None else self._clock()

    def _guess(self) -> float | None:
        """The time on the server's clock, as far as it is known."""
        if self._clock is not None:
            return self._clock()
        return None if self._ahead is None else asyncio.get_running_loop().time() + self._ahead

    def _remember(self, key: str, seen: _Seen | None) -> None:
        self._known.pop(key, None)
        if seen is not None:
            self._known[key] = seen
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)


def _column(key: str) -> str:
    """PostgreSQL's texts hold no NUL, and end where a parameter has one: another key would be read and written."""
    return key.replace("\x1a", "\x1a1").replace("\0", "\x1a0")


def _columns(seen: _Seen | None) -> list[Value]:
    if seen is None:
        return []
    record, indexed = seen.record, seen.record.indexed()
    attention = indexed.attention.value
    return [seen.doc, indexed.job, attention, indexed.since, indexed.changed, record.lease_until, record.tracked]


def _first(rows: list[Row]) -> Record | None:
    return decode_record(rows[0][0] or b"") if rows else None


def _count(rows: list[Row]) -> int:
    return int(rows[0][0] or 0)
