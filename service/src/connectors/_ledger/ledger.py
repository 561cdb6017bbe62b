"""What can be asked of the ledger, and what a person may decide about a job."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from connectors._engine.options import EngineOptions
from connectors._ledger.entry import Entry, age_text, instant_text
from connectors._ledger.fates import CLAIMED, MAY_RUN, Fate
from connectors._stores import Deletion, Record, Store, StoreUnavailable, StoreUnfit, open_store

__all__ = ["Filter", "Ledger", "LedgerError", "open_ledger"]

_SHORTEST_PREFIX = 8
_KEY_LENGTH = 36
_NAMED = 4  # keys, in an error


class LedgerError(Exception):
    """What was asked for cannot be done. The message is one line, fit for the operator."""


@dataclass(frozen=True)
class Filter:
    """Which jobs are wanted."""

    fate: Fate | None = None
    task_type: str | None = None
    orphans: bool = False

    def wants(self, entry: Entry) -> bool:
        """Whether this is one of them."""
        return (
            (self.task_type is None or entry.record.task_type == self.task_type)
            and (self.fate is None or entry.fate is self.fate)
            and (not self.orphans or entry.is_orphan)
        )


class Ledger:
    """The jobs of one store. Made by :func:`open_ledger`."""

    def __init__(self, store: Store, options: EngineOptions) -> None:
        """:param options: those of the servers, which say from when on a job is an orphan."""
        self._store = store
        self._options = options

    async def newest(self, wanted: Filter, limit: int) -> tuple[list[Entry], bool]:
        """The ``limit`` newest of the wanted jobs, the newest first; and whether there are more.

        :param limit: 0 is all of them.
        """
        now = await self._store.now()
        found: dict[str, Entry] = {}
        oldest: list[tuple[float, str]] = []  # a heap of those that were found
        more = False
        async for record in self._store.records():
            entry = Entry(record, now, self._options)
            if not wanted.wants(entry):
                continue
            if record.key not in found:  # a record that changes meanwhile may come twice
                heapq.heappush(oldest, (record.created, record.key))
            found[record.key] = entry
            if limit and len(found) > limit:
                more = True
                del found[heapq.heappop(oldest)[1]]
        return sorted(found.values(), key=lambda entry: (-entry.record.created, entry.record.key)), more

    async def find(self, text: str) -> Entry:
        """The job of a key, or of 8 characters or more that one key alone begins with.

        :raises LedgerError: there is none, or there are several.
        """
        prefix = text.strip().lower()
        record = await self._store.find(prefix)
        found = {record.key: record} if record is not None and record.tracked else {}
        if not found and len(prefix) < _KEY_LENGTH:
            if len(prefix) < _SHORTEST_PREFIX:
                raise LedgerError(
                    f"a job is named by its key, or by {_SHORTEST_PREFIX} characters or more of its start"
                )
            async for other in self._store.records():
                if other.key.startswith(prefix):
                    found[other.key] = other
        if len(found) > 1:
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            raise LedgerError(f"{prefix} is the start of {len(found)} keys: {', '.join(sorted(found)[:_NAMED])}{more}")
        for one in found.values():
            return await self._entry(one)
        raise LedgerError(f"no job has the key {prefix!r}")

    async def adopt(self, text: str, *, reason: str = "") -> str:
        """A person answers for the job from now on: it is not judged an orphan any more, and a cancellation that was
        not carried out is given up. Returns what was done.

        :raises LedgerError: there is no such job, or nothing about it is left to be judged.
        """
        entry = await self.find(text)
        key = entry.record.key
        if entry.fate not in MAY_RUN:
            raise LedgerError(f"{key} is {_told(entry)}: there is nothing to answer for")
        if not await self._store.set_aside(key, reason=_because(CLAIMED, reason), still=entry.record.attention()):
            raise _changed(key)
        given_up = "; no further try is made to cancel it" if entry.fate is Fate.CANCELLING else ""
        return f"{key} is set aside: it is not reported, and not cancelled as an orphan{given_up}"

    async def cancel(self, text: str, *, reason: str = "") -> str:
        """Have the job cancelled by a server. Returns what was done.

        :raises LedgerError: there is no such job, or it cannot be running.
        """
        entry = await self.find(text)
        key = entry.record.key
        if entry.fate is Fate.CANCELLED:
            return f"{key} was cancelled before"
        if entry.fate not in MAY_RUN:
            raise LedgerError(f"{key} is {_told(entry)}: there is nothing to cancel")
        still = entry.record.attention()
        record = await self._store.want_deletion(key, reason=_because("cancelled by a person", reason), still=still)
        if record is None or record.deletion is not Deletion.WANTED or record.set_aside:
            raise _changed(key)
        entry = await self._entry(record)
        tries = f", after {record.delete_tries} that failed" if record.delete_tries else ""
        unmade = "" if record.meta else "; which job that is will be known only when its create is over"
        return f"{key} is to be cancelled by any server of this store: next try {_when(entry)}{tries}{unmade}"

    async def forget(self, text: str, *, force: bool = False) -> str:
        """Remove the record. Returns what was done.

        :param force: also where the job may still be running.
        :raises LedgerError: there is no such job, or it may still be running.
        """
        entry = await self.find(text)
        key = entry.record.key
        if entry.fate in MAY_RUN and not force:
            raise LedgerError(
                f"{key} is {entry.fate.value}, and its job may be running: without this record a repeat of its create"
                " may make a second job, and nobody will cancel the first; --force forgets it all the same"
            )
        if not await self._store.forget(key):
            raise _changed(key)
        return f"{key} is forgotten"

    async def _entry(self, record: Record) -> Entry:
        return Entry(record, await self._store.now(), self._options)


@asynccontextmanager
async def open_ledger(url: str, options: EngineOptions) -> AsyncIterator[Ledger]:
    """The ledger of the store that a URL names.

    :raises LedgerError: the URL names no store that can be looked into, or the store cannot be used or reached: now, or
        while it is in use. The message holds no password.
    """
    if url.startswith("memory://"):
        raise LedgerError("--store: what memory:// keeps is in the server's own memory: no other process can see it")
    try:
        store = open_store(url)
    except ValueError as error:
        raise LedgerError(f"--store: {error}") from error
    _expect_file(url)
    try:
        await store.start()
        yield Ledger(store, options)
    except (StoreUnfit, StoreUnavailable) as error:
        raise LedgerError(f"--store: {error.message}") from error
    finally:
        await store.aclose()


def _expect_file(url: str) -> None:
    """A store that is opened makes its file. To look into a file that is not there is a mistake of the path.

    :raises LedgerError: there is none.
    """
    scheme, _, rest = (url or "sqlite://").partition("://")
    if scheme != "sqlite":
        return
    from connectors._stores.sqlite import default_path  # noqa: PLC0415 - a store's module is imported where it is used

    path = Path(unquote(rest)) if rest else default_path()
    if not path.exists():
        raise LedgerError(f"--store: there is no file {path}: no server has kept its records there")


def _because(what: str, reason: str) -> str:
    return f"{what}: {' '.join(reason.split())}" if reason.strip() else what


def _told(entry: Entry) -> str:
    by = f" by {entry.record.adopted_by}" if entry.fate is Fate.ADOPTED else ""
    return f"{entry.fate.value}{by}"


def _when(entry: Entry) -> str:
    ahead = -entry.age_of(entry.record.delete_at)
    return f"in {age_text(ahead)}, at {instant_text(entry.record.delete_at)}" if ahead > 0 else "now"


def _changed(key: str) -> LedgerError:
    return LedgerError(f"{key} changed at this very moment, and was left as it is: look at it again")
