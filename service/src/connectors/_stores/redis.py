"""Records in a Redis server, for servers on several machines. Valkey, which came from it, serves as well."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import TypeVar

try:
    import redis.asyncio  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:  # a ValueError, as from_url() raises for whatever else is wrong with a URL
    raise ValueError(
        "a Redis store needs a package that is not installed: pip install 'connectors-service[redis]'"
    ) from error

from connectors._stores.record import Attention, Record, decode_record, encode_record
from connectors._stores.redis_address import parse_address
from connectors._stores.redis_connections import ANSWER_WITHIN, Connections, Conversation, Word, wire_to
from connectors._stores.redis_scripts import (
    CHANGE,
    CHANGED,
    FIND_JOB,
    FORGET_PAYLOADS,
    LOAD,
    PAYLOADS,
    RECORD,
    SAVE,
    entries_of,
    job_name,
    payload_name,
    waiting_name,
)
from connectors._stores.redis_server_check import check_server
from connectors._stores.rules import RecordStore, Rule
from connectors._stores.store import Payload

__all__ = ["RedisStore", "from_url"]

T = TypeVar("T")

_STEP = 100
"""Records or payloads in one round trip."""


def from_url(url: str) -> RedisStore:
    """The store for ``redis://user:password@host:port/database``, or the same with TLS as ``rediss://``.

    :raises ValueError: the URL is not understood. The message repeats nothing of it.
    """
    return RedisStore(url)


class RedisStore(RecordStore):
    """Everything lies under ``{connectors}:``; another database number is another store.

    A change reads the record and the server's time, and writes under the condition that the record is still what was
    read; where another server was faster, it begins again. Times are the server's clock.

    What was answered is as safe as the server keeps it: with ``appendonly yes`` and ``appendfsync always`` it outlives
    a crash. A replica is told later than the caller, so that a failover may lose the last moments in any case; a create
    of those that is repeated goes to the platform again, under the same key.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] | None = None, answer_within: float = ANSWER_WITHIN
    ) -> None:
        """:param clock: seconds since 1970, in place of the server's clock; for tests.

        :param answer_within: seconds for a whole operation, once it is its turn.

        :raises ValueError: the URL is not understood. The message repeats nothing of it.
        """
        address = parse_address(url)
        self._name = str(address)
        connect_within = answer_within / 2
        self._connections = Connections(
            wire_to(address, connect_within=connect_within),
            self._name,
            connect_within=connect_within,
            answer_within=answer_within,
        )
        self._clock = clock

    async def start(self) -> None:
        await check_server(self._connections, self._name)

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def now(self) -> float:
        async with self._connections.open() as talk:
            return await self._now(talk)

    async def _now(self, talk: Conversation) -> float:
        if self._clock:
            return self._clock()
        [time] = await talk.ask(("TIME",))
        return _seconds(time)

    async def _change(self, key: str, rule: Rule[T], *, synced: bool = True) -> T:
        # Redis syncs each of its writes, or none: by its own configuration
        async with self._connections.open(alone=key) as talk:
            for tries in count():  # until the conversation's time is over
                text, now = await self._read(talk, key)
                before = decode_record(text) if text else None
                after, answer = rule(before, now)
                if after is before or await talk.run_each(CHANGE, [_written(key, text, before, after)]) == [1]:
                    return answer
                # each such loss is another server's success
                await asyncio.sleep(random.uniform(0, min(0.001 * 2**tries, 0.05)))  # noqa: S311 - guards nothing
        raise AssertionError  # the loop has no end

    async def _read(self, talk: Conversation, key: str) -> tuple[bytes, float]:
        """The record's text, b"" where there is none, and a time that is not before its last change."""
        if self._clock:
            [text] = await talk.ask(("GET", RECORD + key))
            return text or b"", self._clock()
        text, time = await talk.ask(("GET", RECORD + key), ("TIME",))
        return text or b"", _seconds(time)

    async def find(self, key: str) -> Record | None:
        async with self._connections.open() as talk:
            [record] = await _records(talk, [key])
            return record

    async def find_job(self, job: str) -> Record | None:
        async with self._connections.open() as talk:
            text = await talk.run(FIND_JOB, [job_name(job)], RECORD)
        return decode_record(text) if text else None

    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        found: dict[str, Record] = {}
        async with self._connections.open() as talk:
            until = await self._now(talk) - older_than
            seen = 0
            while (size := limit - len(found)) > 0:
                keys = await _due(talk, waiting_name(attention), until, seen, size)
                for record in await _records(talk, keys):
                    # it may have changed since its key was read
                    if record and record.indexed().attention is attention and record.indexed().since <= until:
                        found[record.key] = record
                seen += len(keys)
                if len(keys) < size:
                    break
        return list(found.values())

    async def records(self) -> AsyncIterator[Record]:
        cursor: Word = "0"
        while True:
            async with self._connections.open() as talk:
                [[cursor, page]] = await talk.ask(("ZSCAN", CHANGED, cursor, "COUNT", _STEP))
                records = await _records(talk, [member.decode() for member in page[::2]])
            for record in records:
                if record and record.tracked:
                    yield record
            if not int(cursor):
                return

    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        member = f"{kind}:{key}"
        async with self._connections.open() as talk:
            await talk.run(SAVE, [PAYLOADS, payload_name(member)], self._given_time(), ttl, member, data)

    async def load(self, key: str, kind: Payload) -> bytes | None:
        member = f"{kind}:{key}"
        async with self._connections.open() as talk:
            data: bytes | None = await talk.run(LOAD, [PAYLOADS, payload_name(member)], self._given_time(), member)
            return data

    def _given_time(self) -> Word:
        return self._clock() if self._clock else ""

    async def expire(self, *, older_than: float, limit: int = 1_000) -> int:
        async with self._connections.open() as talk:
            now = await self._now(talk)
            forgotten = await _expire_payloads(talk, now, limit)
            return forgotten + await _expire_records(talk, now, now - older_than, limit - forgotten)


async def _expire_payloads(talk: Conversation, now: float, limit: int) -> int:
    forgotten = 0
    while (size := min(_STEP, limit - forgotten)) > 0:
        members = await _due(talk, PAYLOADS, now, 0, size)
        if members:
            names = [payload_name(member) for member in members]
            forgotten += await talk.run(FORGET_PAYLOADS, [PAYLOADS, *names], now, *members)
        if len(members) < size:
            break
    return forgotten


async def _expire_records(talk: Conversation, now: float, until: float, limit: int) -> int:
    forgotten = kept = 0
    while (size := min(_STEP, limit - forgotten)) > 0:
        keys = await _due(talk, CHANGED, until, kept, size)
        calls = []
        for key, text in zip(keys, await _texts(talk, keys), strict=True):
            record = decode_record(text) if text else None
            if record is None or record.lease_until <= now:
                calls.append(_written(key, text, record, None))
        answers = await talk.run_each(CHANGE, calls)
        forgotten += sum(answers)
        kept += len(keys) - sum(answers)
        if len(keys) < size:
            break
    return forgotten


def _written(key: str, text: bytes, before: Record | None, after: Record | None) -> tuple[list[str], list[Word]]:
    """What CHANGE is told: the names, and the values."""
    entries: dict[str, Word] = {CHANGED: "", **dict.fromkeys(entries_of(before), ""), **entries_of(after)}
    return [RECORD + key, *entries], [text, encode_record(after) if after else "", key, *entries.values()]


async def _due(talk: Conversation, name: str, until: float, skipped: int, size: int) -> list[str]:
    """Members of a sorted set up to a score, the lowest first."""
    [members] = await talk.ask(("ZRANGEBYSCORE", name, "-inf", until, "LIMIT", skipped, size))
    return [member.decode() for member in members]


async def _texts(talk: Conversation, keys: Sequence[str]) -> list[bytes]:
    """The records' texts, b"" for one that is gone."""
    if not keys:
        return []
    [texts] = await talk.ask(("MGET", *(RECORD + key for key in keys)))
    return [text or b"" for text in texts]


async def _records(talk: Conversation, keys: Sequence[str]) -> list[Record | None]:
    return [decode_record(text) if text else None for text in await _texts(talk, keys)]


def _seconds(time: Sequence[bytes]) -> float:
    return int(time[0]) + int(time[1]) / 1e6
