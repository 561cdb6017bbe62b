"""What nobody asks for any more: deletions that are due are carried out, jobs that nobody can know of are cancelled,
and what is left alone for too long is reported.

Every server that shares the store runs one. Each change is made only while the record still waits for what it was
found by, so that two of them do nothing twice, and a poll that comes in between saves its job.

A job is judged only by what this server could have seen: it must have run, with the store in reach, for the whole time
in question.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import get_args

import anyio
from anyio.abc import TaskGroup

from connectors._engine.deletions import NEVER_POSSIBLE, Deletions
from connectors._engine.invocation import now
from connectors._engine.job_calls import JobCalls, decode_meta
from connectors._engine.marks import Marks
from connectors._engine.options import EngineOptions
from connectors._engine.recorder import Recorder
from connectors._engine.redaction import presentable
from connectors._engine.requests import Caller, JobRequest
from connectors._registry import Registered, Registry
from connectors._stores import Attention, Deletion, Record, Store, StoreUnavailable
from connectors._stores.rules import POLL_GRAIN
from connectors._stores.watched import WatchedStore
from connectors.context import Protocol
from connectors.errors import ConnectorError, NotFound
from connectors.models import TaskCategory

__all__ = ["Reaper"]

log = logging.getLogger("connectors.engine")
_JUDGE_EVERY = 6  # rounds; more often where an orphan is to be found in less time than those take
_AT_ONCE = 32
_PAGE, _MOST = 100, 100_000  # records looked at
_FIRST_HOLD, _LONGEST_HOLD = 60.0, 600.0  # seconds from one try of a deletion to the next
_TRY_WITHIN = 30.0
_MOST_TRIES = 1_010  # about seven days of them
_DRIFT = 30.0  # seconds that two clocks may differ by from one round to the next
_OWNER = ("project", "domain", "execution", "node", "retry", "name", "output_prefix")
_Act = Callable[[Record], Awaitable[None]]
_PROTOCOLS: Mapping[str, Protocol] = {each: each for each in get_args(Protocol)}


class Reaper:
    """Looks after the records of the task types that this server serves."""

    def __init__(
        self,
        *,
        tasks: TaskGroup,
        registry: Registry,
        store: Store,
        marks: Marks,
        calls: JobCalls,
        deletions: Deletions,
        recorder: Recorder,
        options: EngineOptions,
    ) -> None:
        self._tasks = tasks
        self._served = {(item.category.name, item.category.version): item for item in registry if item.kind == "async"}
        self._store = store
        self._marks = marks
        self._calls = calls
        self._deletions = deletions
        self._recorder = recorder
        self._options = options
        # polls are written down to the half hour, so less than two of those is no proof that none came
        self._unpolled_after = max(options.unpolled_after, 2 * POLL_GRAIN)
        self._since = now()
        self._clocks_apart: float | None = None
        self._deleting: set[str] = set()

    async def run(self) -> None:
        """Go round, for as long as the server lives."""
        rounds = 0
        of_an_orphan = int(self._options.orphan_after / self._options.reap_every)
        judge_every = max(1, min(_JUDGE_EVERY, of_an_orphan))
        while True:
            # servers that share a store take turns by chance
            await anyio.sleep(self._options.reap_every * random.uniform(0.75, 1.25))  # noqa: S311 - guards nothing
            rounds += 1
            try:
                await self.go_round(judging=rounds % judge_every == 0)
            except StoreUnavailable as error:
                log.debug("the store is out of reach, and nothing is looked after: %s", error.message)
            except Exception:
                log.exception("a round over the jobs failed; the next one may succeed")

    async def go_round(self, *, judging: bool = True) -> None:
        """Look once at what waits.

        :param judging: whether to look also at the jobs that nobody asks for, which are measured in minutes.
        :raises StoreUnavailable: the round was broken off.
        """
        if isinstance(self._store, WatchedStore) and self._store.down_since is not None:
            return
        if judging:
            options = self._options
            await self._compare_clocks()
            await self._judge(Attention.LOST, options.orphan_after, self._cancel_orphan)
            await self._judge(Attention.IDLE, self._unpolled_after, self._report_idle)
            await self._judge(Attention.UNKNOWN, options.orphan_after, self._report_unknown)
        for record, registered in await self._waiting(Attention.DELETE, 0.0):
            if len(self._deleting) >= _AT_ONCE:
                return
            if record.key not in self._deleting and not self._deletions.is_under_way(record.key):
                self._deleting.add(record.key)
                self._tasks.start_soon(self._delete, record, registered)

    # --- judging

    async def _judge(self, attention: Attention, after: float, act: _Act) -> None:
        found = await self._waiting(attention, after) if self._has_seen(after) else []
        if found:
            await self._compare_clocks()
        for record, _ in found:
            if self._has_seen(after) and not self._marks.is_pending(record.key):
                await act(record)

    def _has_seen(self, seconds: float) -> bool:
        """Whether this server was there, with the store in reach, for the last ``seconds``."""
        since = self._since
        if isinstance(self._store, WatchedStore):
            since = max(since, self._store.up_since)
        return now() - since >= seconds

    async def _compare_clocks(self) -> None:
        """Where the store's clock was set, or this machine slept, the age of a record says nothing: what this server
        has seen begins anew.
        """
        apart = await self._store.now() - now()
        if self._clocks_apart is not None and abs(apart - self._clocks_apart) > _DRIFT:
            self._since = now()
            log.warning("the store's clock went %+.0f s from this server's", apart - self._clocks_apart)
        self._clocks_apart = apart

    async def _waiting(self, attention: Attention, older_than: float) -> list[tuple[Record, Registered]]:
        """Those of the task types that are served here. Those of others may stand before them: then more are read."""
        limit = _PAGE
        while True:
            found = await self._store.waiting(attention, older_than=older_than, limit=limit)
            ours = [(each, self._served[_category(each)]) for each in found if _category(each) in self._served]
            if ours or len(found) < limit or limit >= _MOST:
                return ours[:_PAGE]
            limit *= 10

    async def _cancel_orphan(self, record: Record) -> None:
        reason = "its answer reached nobody and no poll came"
        await self._want_deletion(record, reason, Attention.LOST, "reap_lost")

    async def _report_idle(self, record: Record) -> None:
        text = f"not polled for {self._unpolled_after / 3_600:g} h"
        if self._options.cancel_unpolled:
            await self._want_deletion(record, text, Attention.IDLE, "reap_idle")
        else:
            await self._report(record, f"{text}: reported", Attention.IDLE, "report_idle")

    async def _report_unknown(self, record: Record) -> None:
        text = "what became of its create is not known, and nobody asked again: reported"
        await self._report(record, text, Attention.UNKNOWN, "report_unknown")

    async def _want_deletion(self, record: Record, reason: str, attention: Attention, operation: str) -> None:
        wanted = await self._store.want_deletion(record.key, reason=reason, still=attention)
        if wanted is not None and wanted.deletion is Deletion.WANTED and wanted.reason == reason:
            with self._recorder.call(operation, record.task_type, _caller(record)) as call:
                call.key = record.key
            log.warning("a job of %s is to be cancelled, %s: %s", record.task_type, reason, _owner(record))

    async def _report(self, record: Record, reason: str, attention: Attention, operation: str) -> None:
        if not await self._store.set_aside(record.key, reason=reason, still=attention):
            return  # a poll came, or another server was first
        with self._recorder.call(operation, record.task_type, _caller(record)) as call:
            call.key = record.key
        what = "a create" if attention is Attention.UNKNOWN else "a job"
        log.warning("%s of %s may run with nobody to watch it, %s: %s", what, record.task_type, reason, _owner(record))

    # --- deleting

    async def _delete(self, found: Record, registered: Registered) -> None:
        key, task_type = found.key, found.task_type
        try:
            hold = min(_FIRST_HOLD * 2 ** min(found.delete_tries, 10), _LONGEST_HOLD)
            record = await self._store.claim_deletion(key, hold=hold)
            if record is None or record.meta is None:
                return  # what is not known yet is cancelled when it is
            try:
                with self._recorder.call("reap", task_type, _caller(record)) as call:
                    call.key = key
                    job = decode_meta(registered, record.meta)
                    request = JobRequest(
                        _caller(record),
                        TaskCategory(task_type, record.version),
                        record.meta,
                        record.subject.get("output_prefix", ""),
                    )
                    try:
                        until = now() + _TRY_WITHIN
                        await self._calls.call(registered, "delete", request, job, call=call, until=until)
                    except NotFound:
                        log.debug("a job that was to be cancelled is not there: %s", key)
            except ConnectorError as error:
                await self._put_off(record, error, hold)
            else:
                await self._store.note_deleted(key)
                log.info("a job of %s was cancelled, %s: %s", task_type, record.reason, _owner(record))
        except StoreUnavailable as error:
            log.debug("a deletion could not be written down, and is tried again: %s", error.message)
        except Exception:
            log.exception("the deletion of %s failed, and is tried again", key)
        finally:
            self._deleting.discard(key)

    async def _put_off(self, record: Record, error: ConnectorError, hold: float) -> None:
        text = presentable(error.message)
        if isinstance(error, NEVER_POSSIBLE) or record.delete_tries >= _MOST_TRIES:
            reason = f"could not be cancelled: {text}"
            if await self._store.set_aside(record.key, reason=reason, still=Attention.DELETE):
                log.error("a job of %s is not cancelled, ever: %s: %s", record.task_type, text, _owner(record))
            return
        log.info("a job of %s is tried to be cancelled again in %.0f s: %s", record.task_type, hold, text)


def _category(record: Record) -> tuple[str, int]:
    return record.task_type, record.version


def _caller(record: Record) -> Caller:
    return Caller(_PROTOCOLS.get(record.subject.get("protocol", ""), "local"))


def _owner(record: Record) -> str:
    """Whose job it is, for the log: ``key 5c… project p domain d execution e node n0``."""
    known = [f"{word} {record.subject[word]}" for word in _OWNER if record.subject.get(word)]
    return " ".join([f"key {record.key}", *known])
