"""GetTask of an async connector: what the platform says, weighed against what is known of the job.

The platform is asked and the job's record looked up at the same time. The record decides what the platform cannot know:
that the job was deleted, and that its end was delivered to the backend before. A store that is out of reach is done
without.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import anyio
from anyio.abc import TaskGroup

from connectors._engine.deletions import NEVER_POSSIBLE
from connectors._engine.invocation import now
from connectors._engine.job_calls import JobCalls
from connectors._engine.marks import Marks
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import AdmissionRefused
from connectors._engine.recorder import Call, Recorder
from connectors._engine.redaction import presentable
from connectors._engine.requests import JobRequest, StoredForms
from connectors._engine.shared_polls import PlatformAnswer, SharedPoll, SharedPolls, worth_asking_again
from connectors._engine.shield import Shield
from connectors._registry import Registered
from connectors._stores import Deletion, Record, Store, StoreUnavailable, job_of
from connectors._stores.rules import POLL_GRAIN
from connectors.connector import AsyncConnectorBase, ResourceMeta
from connectors.errors import ConnectorError, NotFound
from connectors.models import Phase, Resource

__all__ = ["Polls"]

log = logging.getLogger("connectors.engine")
_RECORD_PATIENCE = 1.0  # seconds that a poll waits for the job's record once the platform has answered
_NOTE_EVERY = POLL_GRAIN + 1.0  # seconds; a little more than the store's own measure, so that it writes each down
_REMEMBERED = 100_000
_SHOWN_WITHIN = 60.0
"""Seconds in which a platform shows a job that it made: before that, one that cannot be found is not gone."""
_GIVE_UP_WITHIN = 10.0  # seconds for cancelling a job whose state cannot be had
_MARKS_WITHIN = 5.0


class Polls:
    """Answers polls. What is answered never goes back from a terminal phase, nor from a deletion."""

    def __init__(
        self,
        *,
        tasks: TaskGroup,
        store: Store,
        marks: Marks,
        shield: Shield,
        calls: JobCalls,
        forms: StoredForms,
        recorder: Recorder,
        options: EngineOptions,
    ) -> None:
        self._tasks = tasks
        self._store = store
        self._marks = marks
        self._shield = shield
        self._calls = calls
        self._recorder = recorder
        self._options = options
        self._shared = SharedPolls(calls, forms)
        self._keys: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """Of the jobs that are not over: the key, and when a poll was noted last."""
        self._giving_up: dict[str, anyio.Event] = {}

    async def poll(
        self, registered: Registered, request: JobRequest, job: ResourceMeta, *, call: Call, until: float
    ) -> Resource:
        """The job's state.

        :param until: an instant on the event loop's clock, by which the answer is there.
        """
        name = job_of(request.category.name, request.category.version, request.meta)
        record, answer = await self._ask(registered, request, job, name, call=call, until=until)
        key = self._note_poll(name, record)
        call.key = key
        if record is not None and record.deletion is not Deletion.NONE and not record.terminal:
            return self._shield.end(request.category, request.meta, Resource(Phase.ABORTED, record.reason))
        noted = None if record is None else Phase.__members__.get(record.terminal)
        if record is not None and noted is not None:
            if not isinstance(answer.fault, NotFound):
                call.hidden = answer.fault
            return self._after_the_end(registered, request, record, noted, answer)
        if isinstance(answer.fault, NotFound):
            answer = await self._when_not_found(registered, request, job, record, answer.fault, until=until)
        call.hidden = answer.fault
        resource = self._weigh(request, answer)
        if answer.fault is not None and self._is_given_up(request, answer.fault):
            await self._give_up(registered, request, job, name, resource, until=until)
            resource = self._shield.terminal(request.category, request.meta) or resource
        if resource.phase.is_terminal:
            self._when_answered(request, key, name, resource.phase, call.usage)
        return resource

    def forget(self, request: JobRequest) -> None:
        """The job was deleted: no more polls of it are expected."""
        self._keys.pop(job_of(request.category.name, request.category.version, request.meta), None)

    async def aclose(self) -> None:
        """End the polls that are under way."""
        await self._shared.aclose()

    # --- the platform and the record

    async def _ask(
        self, registered: Registered, request: JobRequest, job: ResourceMeta, name: str, *, call: Call, until: float
    ) -> tuple[Record | None, PlatformAnswer]:
        record, is_found, is_own = None, False, True
        while True:
            with self._shared.joined(registered, request, job, until=until) as poll:
                is_own = poll.waiting == 1
                if not is_found:
                    record, is_found = await self._look_up(name, poll, until), True
                if record is not None and record.deletion is not Deletion.NONE and not record.terminal:
                    return record, PlatformAnswer(None)
                try:
                    answer = await poll.wait(until=until)
                finally:
                    call.repeated = not is_own
                    if is_own:
                        call.attempts, call.unknown_states = poll.call.attempts, poll.call.unknown_states
                        call.usage = poll.call.usage
            if is_own or not worth_asking_again(poll, answer, until=until):
                return record, answer

    async def _look_up(self, name: str, poll: SharedPoll, until: float) -> Record | None:
        """The job's record; None where there is none, or none to be had in the time that the platform takes."""
        try:
            if self._store.at_once:
                return await self._store.find_job(name)
            with self._bounded(poll, until):
                return await self._store.find_job(name)
            log.debug("a job is polled without its record: the store does not answer")
        except StoreUnavailable as error:
            log.debug("a job is polled without its record: %s", error.message)
        except Exception:
            log.exception("the record of a job cannot be read")
        return None

    @contextmanager
    def _bounded(self, poll: SharedPoll, until: float) -> Iterator[None]:
        """Ends what is inside by ``until``, and a while after the platform has answered."""

        def hurry() -> None:  # it may come when the record was found just now
            limit.deadline = min(until, now() + _RECORD_PATIENCE)

        poll.on_end.add(hurry)
        try:
            with anyio.CancelScope(deadline=until) as limit:
                yield
        finally:
            poll.on_end.discard(hurry)

    # --- what is answered

    def _weigh(self, request: JobRequest, answer: PlatformAnswer) -> Resource:
        category, meta = request.category, request.meta
        if answer.fault is not None:
            return self._shield.hide(category, meta, answer.fault, now=now())
        resource, size = cast(Resource, answer.resource), answer.size
        if size > self._options.answer_max_bytes:
            resource, size = _too_large(resource, size, self._options.answer_max_bytes), 0
        return self._shield.answer(category, meta, resource, size=size)

    async def _when_not_found(
        self,
        registered: Registered,
        request: JobRequest,
        job: ResourceMeta,
        record: Record | None,
        fault: NotFound,
        *,
        until: float,
    ) -> PlatformAnswer:
        """A fault that passes, as long as the job may be too new to be found. Later it has failed, and is cancelled
        first: one that was only hidden must not run on behind a task that failed.
        """
        is_over = self._shield.terminal(request.category, request.meta) is not None
        if is_over or not await self._has_had_time_to_show(request, record):
            return PlatformAnswer(None, fault)
        try:
            await self._calls.call(registered, "delete", request, job, call=Call(), until=until)
        except (NotFound, *NEVER_POSSIBLE) as error:
            log.debug("a job that cannot be found cannot be cancelled: %s", presentable(error.message))
        except ConnectorError as error:
            error.message = presentable(error.message)
            return PlatformAnswer(None, error)
        return PlatformAnswer(Resource(Phase.FAILED, fault.message))

    async def _has_had_time_to_show(self, request: JobRequest, record: Record | None) -> bool:
        if record is not None:
            try:
                async with asyncio.timeout(_RECORD_PATIENCE):
                    return await self._store.now() - record.done_at >= _SHOWN_WITHIN
            except Exception as error:  # noqa: BLE001 - a poll is answered, whatever the store does
                log.debug("the age of %s is not known: %r", record.key, error)
        return self._shield.fault_age(request.category, request.meta, now=now()) >= _SHOWN_WITHIN

    def _after_the_end(
        self, registered: Registered, request: JobRequest, record: Record, noted: Phase, answer: PlatformAnswer
    ) -> Resource:
        """What is answered once a poll has delivered a terminal phase, of this server's or another."""
        category, meta = request.category, request.meta
        said = answer.resource.phase if answer.resource is not None else None
        if said is noted or (said is not None and said.is_terminal and record.deletion is Deletion.NONE):
            return self._weigh(request, answer)
        known = self._shield.terminal(category, meta)
        if known is not None:
            return known
        if noted is not Phase.SUCCEEDED:
            text = record.reason or f"the job was {noted.name} when it was polled before"
            return self._shield.end(category, meta, Resource(noted, text))
        if isinstance(answer.fault, NotFound):
            if not cast("AsyncConnectorBase[ResourceMeta]", registered.connector).results_inline:
                return self._shield.answer(category, meta, Resource(noted))  # its results lie where it wrote them
            text = f"the job succeeded, and its results are gone with it: {answer.fault.message}"
            return self._shield.answer(category, meta, Resource(Phase.FAILED, text))
        if answer.fault is not None:
            return self._shield.hide(category, meta, answer.fault, now=now())
        return Resource(Phase.RUNNING)  # SUCCEEDED without its outputs would lose them

    # --- what is written down

    def _note_poll(self, name: str, record: Record | None) -> str:
        """Returns the job's key, "" where it is not known."""
        key, noted_at = self._keys.get(name, ("", -math.inf))
        if record is not None:
            key = record.key
            if not record.asked_at and not self._marks.is_pending(key):
                noted_at = -math.inf
        if record is not None and (record.terminal or record.deletion is not Deletion.NONE):
            self._keys.pop(name, None)  # nothing is noted of it any more
            return key
        if key and now() - noted_at >= _NOTE_EVERY:
            self._marks.note(key, polled=True)
            noted_at = now()
        if key:
            self._keys[name] = (key, noted_at)
            self._keys.move_to_end(name)
            if len(self._keys) > _REMEMBERED:
                self._keys.popitem(last=False)
        return key

    def _when_answered(
        self, request: JobRequest, key: str, name: str, phase: Phase, usage: Mapping[str, float]
    ) -> None:
        """Have the job's end written down, and what it used counted, once the backend has it."""
        caller = request.caller

        def answered(delivered: bool) -> None:
            if not delivered:
                return
            self._keys.pop(name, None)
            self._recorder.used(request.category.name, usage)
            if key:
                self._marks.note(key, terminal=phase.name)
            else:
                self._marks.note_end(name, phase.name)

        if caller.on_answered is None:
            answered(True)  # called in process: what is returned has arrived
        else:
            caller.on_answered(answered)

    # --- a job whose state cannot be had for too long

    def _is_given_up(self, request: JobRequest, fault: ConnectorError) -> bool:
        most = self._options.fail_after_fault
        if not most or isinstance(fault, NotFound | AdmissionRefused):
            return False
        return self._shield.fault_age(request.category, request.meta, now=now()) >= most

    async def _give_up(
        self,
        registered: Registered,
        request: JobRequest,
        job: ResourceMeta,
        name: str,
        resource: Resource,
        *,
        until: float,
    ) -> None:
        """Cancel the job; once that is accepted it has failed, for good. Waits for it no longer than ``until``."""
        done = self._giving_up.get(name)
        if done is None and not resource.phase.is_terminal:
            done = self._giving_up[name] = anyio.Event()
            self._tasks.start_soon(self._cancel, registered, request, job, name, resource)
        if done is not None:
            with anyio.CancelScope(deadline=until):
                await done.wait()

    async def _cancel(
        self, registered: Registered, request: JobRequest, job: ResourceMeta, name: str, resource: Resource
    ) -> None:
        task_type, age = request.category.name, self._options.fail_after_fault
        key = self._keys.get(name, ("", 0.0))[0]
        try:
            with self._recorder.call("reap", task_type, request.caller) as call:
                call.key = key
                try:
                    until = now() + _GIVE_UP_WITHIN
                    await self._calls.call(registered, "delete", request, job, call=call, until=until)
                except NotFound:
                    pass
        except ConnectorError as error:
            log.warning("a job of %s whose state cannot be had could not be cancelled: %s", task_type, error.message)
        else:
            text = f"the job's state could not be had for {age:.0f} s and more, so it was cancelled: {resource.message}"
            failed = replace(resource, phase=Phase.RETRYABLE_FAILED, message=presentable(text))
            self._shield.end(request.category, request.meta, failed)
            log.warning("a job of %s was cancelled: its polls met a fault for %.0f s", task_type, age)
            if key:
                await self._write_down_failure(key, text)
        finally:
            self._giving_up.pop(name).set()

    async def _write_down_failure(self, key: str, reason: str) -> None:
        """For the other servers: the phase first, so that none of them takes the job for one that a caller deleted."""
        phase = Phase.RETRYABLE_FAILED.name
        try:
            with anyio.fail_after(_MARKS_WITHIN):
                await self._store.note(key, terminal=phase)
                await self._store.want_deletion(key, reason=presentable(reason))
                await self._store.note_deleted(key)
        except (StoreUnavailable, TimeoutError):
            self._marks.note(key, terminal=phase)


def _too_large(answer: Resource, size: int, most: int) -> Resource:
    """A poll that the backend cannot take counts as failed, and the sixth loses the task: better fail with a reason."""
    if not answer.phase.is_terminal:
        return Resource(answer.phase, answer.message[:1_000])
    text = f"the result takes {size} bytes, and a backend takes {most} in one message: write it under output_prefix"
    return Resource(Phase.FAILED, text)
