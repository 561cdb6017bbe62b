"""One platform call for all who poll the same job at the same time.

Polls are the same where their answer is bound to be: task type, meta, output prefix, protocol, and the secrets that the
caller's connection brought. The call is nobody's own: who gives up leaves it to the others, and it ends with the last.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from connectors._engine.beside_the_loop import beside_the_loop
from connectors._engine.invocation import now
from connectors._engine.job_calls import JobCalls
from connectors._engine.outcome import bug
from connectors._engine.recorder import Call
from connectors._engine.redaction import presentable, redacted
from connectors._engine.requests import JobRequest, StoredForms
from connectors._engine.waiting import Signal
from connectors._registry import Registered
from connectors.connector import ResourceMeta
from connectors.errors import ConnectorError, DeadlineExceeded, NotFound, Unavailable
from connectors.models import Phase, Resource, TaskCategory

__all__ = ["PlatformAnswer", "SharedPoll", "SharedPolls", "worth_asking_again"]

_GRACE = 0.02  # seconds for a call that ends with its caller's time to say how it ended
_WORTH_ASKING = 1.0  # seconds that a poll must have left, to ask again what ran out of another's time
_EXACT_IN_A_DOUBLE = 2**53
_AROUND_A_FACT = 16  # bytes, a number's own among them
_Key = tuple[TaskCategory, bytes, str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class PlatformAnswer:
    """What a poll of the platform brought: a resource or a fault, NotFound among them."""

    resource: Resource | None
    fault: ConnectorError | None = None
    size: int = 0
    """The resource's, in bytes, as it is written for the caller."""


class SharedPoll:
    """One platform call, and those who wait for it, each of them within it as a context."""

    def __init__(self, key: _Key, until: float, on_left: Callable[[SharedPoll], None]) -> None:
        """:param on_left: told when the last who waited has gone before the answer came."""
        self.key = key
        self._on_left = on_left
        self.until = until
        """The instant, on the event loop's clock, by which the call ends."""
        self.call = Call()
        """What is learnt of it on the way: to be told by the poll that began it, so that nothing is counted twice."""
        self.answer: PlatformAnswer | None = None
        self.waiting = 0
        self._ended = Signal()
        self.on_end: set[Callable[[], None]] = set()
        """Called when it ends."""

    def __enter__(self) -> Self:
        self.waiting += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.waiting -= 1
        if not self.waiting and self.answer is None:
            self._on_left(self)

    def end(self, answer: PlatformAnswer) -> None:
        """Give everyone who waits their answer."""
        self.answer = answer
        self._ended.give()
        for tell in tuple(self.on_end):
            tell()

    async def wait(self, *, until: float) -> PlatformAnswer:
        """The answer; DeadlineExceeded where it is not there by ``until``."""
        await self._ended.wait(until=until + (_GRACE if self.until <= until else 0.0))
        return self.answer or PlatformAnswer(None, DeadlineExceeded("the platform did not answer in time"))


class SharedPolls:
    """The polls that are under way."""

    def __init__(self, calls: JobCalls, forms: StoredForms) -> None:
        self._calls = calls
        self._forms = forms
        self._polls: dict[_Key, SharedPoll] = {}
        self._tasks: dict[SharedPoll, asyncio.Task[PlatformAnswer]] = {}

    def joined(
        self, registered: Registered, request: JobRequest, job: ResourceMeta, *, until: float
    ) -> AbstractContextManager[SharedPoll]:
        """The call that is under way, or a new one that ends by ``until``."""
        key = _key_of(request)
        poll = self._polls.get(key)
        if poll is None:
            poll = self._polls[key] = SharedPoll(key, until, self._left)
            self._start(poll, self._ask(poll, registered, request, job))
        return poll

    def _left(self, poll: SharedPoll) -> None:
        self._drop(poll)
        self._tasks[poll].cancel()

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, poll: SharedPoll, call: Coroutine[Any, Any, PlatformAnswer]) -> None:
        def ended(task: asyncio.Task[PlatformAnswer]) -> None:
            del self._tasks[poll]
            self._drop(poll)
            stopped = PlatformAnswer(None, Unavailable("the server stopped before the platform answered"))
            poll.end(stopped if task.cancelled() else task.result())

        # a task of the loop's own, not of a task group: there is one for each poll, and it costs half as much
        task = self._tasks[poll] = asyncio.get_running_loop().create_task(call, name="poll")
        task.add_done_callback(ended)

    async def _ask(
        self, poll: SharedPoll, registered: Registered, request: JobRequest, job: ResourceMeta
    ) -> PlatformAnswer:
        task_type = request.category.name
        try:
            answer = await self._calls.call(registered, "get", request, job, call=poll.call, until=poll.until)
            if not isinstance(answer, Resource) or answer.phase is Phase.UNDEFINED:
                got = "UNDEFINED" if isinstance(answer, Resource) else type(answer).__name__
                raise bug(task_type, "get", TypeError(f"get must return a Resource with a phase, not {got}"))
            answer = redacted(answer)
            size = _size_of_texts(answer) if _is_plain(answer) else await self._size_of(answer)
        except ConnectorError as error:
            error.message = presentable(error.message)
            return PlatformAnswer(None, error)
        except Exception as error:  # noqa: BLE001 - the connector may have put anything into its answer
            return PlatformAnswer(None, bug(task_type, "get", error))
        return PlatformAnswer(answer, size=size)

    async def _size_of(self, answer: Resource) -> int:
        """:raises Exception: it cannot be written: a bug, and hidden like any other."""
        large, encoded = self._forms.is_large(answer), partial(self._forms.encode_result, answer)
        return len(await beside_the_loop(encoded) if large else encoded())

    def _drop(self, poll: SharedPoll) -> None:
        if self._polls.get(poll.key) is poll:
            del self._polls[poll.key]


def _is_plain(answer: Resource) -> bool:
    """Whether it is a phase, texts and flat facts, which can always be written: most polls' answer."""
    phase: object = answer.phase  # a connector may have put anything there
    is_bare = isinstance(phase, Phase) and answer.outputs is None and answer.error is None
    return is_bare and (answer.custom_info is None or _is_flat(answer.custom_info))


def _is_flat(facts: Mapping[str, object]) -> bool:
    return all(type(name) is str and name.isascii() and _is_scalar(value) for name, value in facts.items())


def _is_scalar(value: object) -> bool:
    """Whether a Struct holds it as it is."""
    kind = type(value)
    if kind is str:
        return cast(str, value).isascii()
    if kind is int:
        return -_EXACT_IN_A_DOUBLE <= cast(int, value) <= _EXACT_IN_A_DOUBLE
    return kind is bool or value is None or (kind is float and math.isfinite(cast(float, value)))


def _size_of_texts(answer: Resource) -> int:
    """A plain answer's size, within a few bytes for each text. To find it out by writing takes twenty times as long."""
    texts = [answer.message]
    for link in answer.log_links:
        texts += link.uri, link.name
    facts = answer.custom_info or {}
    texts += facts
    texts += [value for value in facts.values() if isinstance(value, str)]
    size = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
    return size + _AROUND_A_FACT * len(facts)


def worth_asking_again(poll: SharedPoll, answer: PlatformAnswer, *, until: float) -> bool:
    """Whether the call failed for want of time that this poll still has."""
    ran_out = answer.fault is not None and not isinstance(answer.fault, NotFound) and now() >= poll.until - _GRACE
    return ran_out and until - now() >= _WORTH_ASKING


def _key_of(request: JobRequest) -> _Key:
    secrets = tuple(sorted(request.caller.secrets.items()))
    return request.category, request.meta, request.output_prefix, request.caller.protocol, secrets
