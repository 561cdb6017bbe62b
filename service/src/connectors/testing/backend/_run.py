"""One task's way through the backend: its attempts, and in each the create, the polls and the delete."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from connectors.client import CallFailed
from connectors.models import Phase, Resource
from connectors.testing.backend._fates import Call, Fate, Outcome
from connectors.testing.backend._mishaps import Mishaps
from connectors.testing.backend._pace import Pace
from connectors.testing.backend._tasks import BackendTask, Protocol, shuffled, shuffled_through
from connectors.testing.backend._transport import Transport

__all__ = ["Behaviour", "TaskRun"]

T = TypeVar("T")
_FAILED_POLLS = 5  # one more, and the task is given up
_DELETE_TRIES = 10
_GIVEN_UP = "GIVEN_UP"


@dataclass(frozen=True)
class Behaviour:
    """How a backend is set up. Times are in seconds."""

    protocol: Protocol
    poll_interval: float
    deadline: float | None
    retries: int
    seed: int
    mishaps: Mishaps
    patience: float
    outputs_at: Callable[[str], bool] | None


@dataclass(frozen=True)
class _End:
    """How an attempt ended. ``outcome`` None: as a failure that a retry may follow."""

    outcome: Outcome | None
    reason: str = ""
    meta: bytes = b""
    """Of the job, where one is left behind."""
    outputs: Any = None


class TaskRun:
    """One run of one task; :meth:`fate` carries it out."""

    def __init__(
        self, task: BackendTask, transport: Transport, pace: Pace, behaviour: Behaviour, *, number: int, began: float
    ) -> None:
        """:param number: how many runs of the same name there were before. :param began: the backend's start."""
        self._task = task
        self._transport = transport
        self._pace = pace
        self._behaviour = behaviour
        self._mishaps = behaviour.mishaps
        self._number = number
        self._began = began
        self._abort_at = self._give_up_at = math.inf
        self._calls: list[Call] = []
        self._late: set[asyncio.Task[None]] = set()

    async def fate(self) -> Fate:
        """Run the task to its end."""
        started = _now()
        if self._task.abort_after is not None:
            self._abort_at = started + self._task.abort_after
        self._give_up_at = started + self._behaviour.patience
        try:
            attempt, end = await self._attempts()
            await self._late_polls_over()
        finally:
            for task in self._late:
                task.cancel()
        calls = tuple(sorted(self._calls, key=lambda call: call.at))
        return Fate(self._task, end.outcome or "failed", attempt + 1, end.reason, end.outputs, calls)

    async def create(self, attempt: int) -> bytes:
        """One create, and no mishap.

        :raises CallFailed: as the server answers.
        """
        return await self._send_create(attempt, random.Random(self._seed("order", attempt, 0)), None)

    async def _attempts(self) -> tuple[int, _End]:
        retries = self._behaviour.retries if self._task.retries is None else self._task.retries
        attempt = 0
        while True:
            end = await self._attempt(attempt)
            if end.outcome is not None:
                return attempt, end
            over = asyncio.Event()
            if attempt == retries:  # no delete: the backend leaves the job as it is
                if end.meta:
                    self._poll_later(attempt, end.meta, over)
                return attempt, end
            if end.meta:
                # an error is only logged in Flyte 2, and tried again in Flyte 1
                await self._delete(attempt, end.meta, tries=_DELETE_TRIES if self._is_flyte1 else 1)
                self._poll_later(attempt, end.meta, over)
            if _now() >= self._abort_at:
                return attempt, _End("aborted", "its user aborted it between two attempts")
            attempt += 1

    async def _attempt(self, attempt: int) -> _End:
        number = 0
        while True:
            try:
                meta = await self._create(attempt, number)
            except CallFailed as failure:  # nothing is known of a job, so nothing can be deleted
                if _now() >= self._abort_at:
                    return _End("aborted", "its user aborted it during the create")
                return _End(None, f"the create failed: {failure}")
            if not self._happens("lose", attempt, number, self._mishaps.lose_create_answer):
                return await self._follow(attempt, meta)
            if self._happens("ask", attempt, number, self._mishaps.ask_before_losing):
                await self._ask_once(attempt, meta)
            if self._happens("forget", attempt, number, self._mishaps.forget):
                return _End("aborted", "its execution is gone, and so is the create's answer")
            await asyncio.sleep(self._mishaps.restart_takes)
            number += 1

    async def _follow(self, attempt: int, meta: bytes) -> _End:
        over = asyncio.Event()
        polls = asyncio.create_task(self._poll(attempt, meta, over))
        try:
            until = min(self._abort_at, self._give_up_at)
            await asyncio.wait({polls}, timeout=None if math.isinf(until) else max(0.0, until - _now()))
            if polls.done():
                end = polls.result()
                if end is not None and (end.outcome != "stuck" or math.isinf(self._abort_at)):
                    return end
                await asyncio.sleep(self._abort_at - _now())
            elif until < self._abort_at:
                return _End("stuck", f"it did not end within {self._behaviour.patience:g} s", meta)
            else:
                self._poll_later(attempt, meta, over, polls)
            over.set()
            deleted = await self._delete(attempt, meta, tries=_DELETE_TRIES)
            return _End("aborted", "its user aborted it" + ("" if deleted else "; the delete failed"))
        finally:
            if not over.is_set():
                polls.cancel()

    # --- polls

    async def _poll(self, attempt: int, meta: bytes, over: asyncio.Event) -> _End | None:
        """Until the job ends, the polls have failed too often, or ``over`` is set: None then."""
        failures, answered = 0, False
        while True:
            started = _now()
            try:
                resource = await self._get(attempt, meta)
            except CallFailed as failure:
                failures += 1  # and never less: a poll that succeeds does not make up for it
                reason = f"{failures} polls failed, the last: {failure}"
            else:
                answered, reason = True, ""
                end = self._judged(resource, attempt, meta)
                if end is not None:
                    return end
            if not over.is_set():
                await _wait(over, started + self._behaviour.poll_interval - _now())
            if over.is_set():
                return None
            if failures > _FAILED_POLLS:
                return _End("stuck" if answered else "failed", reason, meta)

    def _judged(self, resource: Resource, attempt: int, meta: bytes) -> _End | None:
        match resource.phase:
            case Phase.SUCCEEDED:
                prefix = self._task.output_prefix(self._behaviour.protocol, attempt)
                read = self._task.template.interface.outputs and resource.outputs is None
                if read and self._behaviour.outputs_at is not None and not self._behaviour.outputs_at(prefix):
                    return _End("failed", f"there is no {prefix}/outputs.pb", meta)
                return _End("succeeded", outputs=resource.outputs)
            case Phase.RETRYABLE_FAILED:
                return _End(None, resource.message, meta)
            case Phase.FAILED | Phase.ABORTED:
                return _End("failed", resource.message or resource.phase.name, meta)
            case Phase.UNDEFINED:
                return _End("failed", "the resource has no phase", meta)
        return None

    async def _ask_once(self, attempt: int, meta: bytes) -> None:
        try:
            await self._get(attempt, meta)
        except CallFailed:
            pass  # whoever would have counted it is gone

    def _poll_later(
        self, attempt: int, meta: bytes, over: asyncio.Event, polls: asyncio.Task[Any] | None = None
    ) -> None:
        """Flyte 1 goes on polling for a while."""

        async def poll() -> None:
            if polls is not None:
                await polls
            for _ in range(self._mishaps.late_polls if self._is_flyte1 else 0):
                await asyncio.sleep(self._behaviour.poll_interval)
                await self._ask_once(attempt, meta)

        self._later(poll())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _late_polls_over(self) -> None:
        if self._late:
            each = self._behaviour.poll_interval + (self._behaviour.deadline or 10.0)
            await asyncio.wait(set(self._late), timeout=each * (self._mishaps.late_polls + 1))

    # --- calls

    async def _create(self, attempt: int, number: int) -> bytes:
        twice = self._happens("twice", attempt, number, self._mishaps.send_twice)
        gives_up = self._happens("give up", attempt, number, self._mishaps.give_up)
        patience = self._mishaps.give_up_after if gives_up else None
        order = random.Random(self._seed("order", attempt, number))
        sent = [self._send_create(attempt, order, patience) for _ in range(2 if twice else 1)]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, bytes):
                return answer
        assert isinstance(answers[0], BaseException)  # noqa: S101 - for the type checker: an answer is bytes
        raise answers[0]

    async def _send_create(self, attempt: int, order: random.Random, patience: float | None) -> bytes:
        task = self._task
        template, metadata = task.identified(), task.metadata(attempt)
        call = self._transport.create(
            replace(template, custom=shuffled_through(template.custom, order), config=shuffled(template.config, order)),
            shuffled(task.inputs, order),
            output_prefix=task.output_prefix(self._behaviour.protocol, attempt),
            metadata=replace(
                metadata,
                labels=shuffled(metadata.labels, order),
                annotations=shuffled(metadata.annotations, order),
                environment_variables=shuffled(metadata.environment_variables, order),
            ),
            secrets=shuffled(task.secrets, order),
        )
        try:
            async with asyncio.timeout(patience):
                return await self._recorded("create", attempt, call)
        except TimeoutError as error:
            raise CallFailed(_GIVEN_UP, f"no answer within {patience:g} s") from error

    async def _get(self, attempt: int, meta: bytes) -> Resource:
        async with self._pace.poll():
            call = self._transport.get(
                self._task.category,
                meta,
                output_prefix=self._task.output_prefix(self._behaviour.protocol, attempt),
                secrets=self._task.secrets,
            )
            return await self._recorded("get", attempt, call, meta)

    async def _delete(self, attempt: int, meta: bytes, *, tries: int) -> bool:
        for number in range(tries):
            if number:
                await asyncio.sleep(self._behaviour.poll_interval)
            call = self._transport.delete(self._task.category, meta, secrets=self._task.secrets)
            try:
                await self._recorded("delete", attempt, call, meta)
            except CallFailed:
                continue
            return True
        return False

    async def _recorded(
        self, operation: Literal["create", "get", "delete"], attempt: int, call: Awaitable[T], meta: bytes = b""
    ) -> T:
        started = _now()

        def record(*, answered: bool, result: str, message: str = "", of: bytes = meta) -> None:
            at, took = started - self._began, _now() - started
            self._calls.append(Call(operation, attempt, at, took, answered, result, message, of))

        try:
            answer = await call
        except CallFailed as failure:
            record(answered=False, result=failure.status, message=failure.message)
            raise
        except asyncio.CancelledError:
            record(answered=False, result=_GIVEN_UP)
            raise
        if isinstance(answer, Resource):
            record(answered=True, result=answer.phase.name, message=answer.message)
        else:
            record(answered=True, result="OK", of=answer if isinstance(answer, bytes) else meta)
        return answer

    # --- chance

    def _happens(self, what: str, attempt: int, number: int, share: float) -> bool:
        return share > 0 and random.Random(self._seed(what, attempt, number)).random() < share

    def _seed(self, what: str, attempt: int, number: int) -> str:
        return f"{self._behaviour.seed}/{self._task.name}/{self._number}/{what}/{attempt}/{number}"

    @property
    def _is_flyte1(self) -> bool:
        return self._behaviour.protocol == "flyte1"


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        pass
