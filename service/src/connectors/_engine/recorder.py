"""Turns one call into its one event, however it ends."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from connectors._engine.events import (
    CallEvent,
    CallSpan,
    Fact,
    FactObserver,
    Meter,
    Observer,
    Operation,
    Tracer,
)
from connectors._engine.invocation import now
from connectors._engine.outcome import ConnectorBug, bug, status_of
from connectors._engine.redaction import presentable
from connectors._engine.requests import Caller
from connectors.errors import ConnectorError
from connectors.models import Phase, Resource, TaskExecutionMetadata, TaskLog

__all__ = ["Call", "Recorder"]

log = logging.getLogger("connectors.engine")
T = TypeVar("T")
_NOBODY = TaskExecutionMetadata()


@dataclass
class Call:
    """What is learnt of a call while it runs."""

    key: str = ""
    attempts: int = 0
    repeated: bool = False
    joined: bool = False
    mismatch: bool = False
    meta: bytes = b""
    phase: Phase | None = None
    log_links: tuple[TaskLog, ...] = ()
    unknown_states: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)
    """What a poll was told that the job used, by unit."""
    hidden: ConnectorError | None = None
    """The fault that the shield hid."""

    def on_attempt(self, error: ConnectorError | None) -> None:
        """Counts a try."""
        self.attempts += 1

    def answer(self, resource: Resource) -> None:
        """Takes note of what the caller is told."""
        self.phase, self.log_links = resource.phase, resource.log_links


class Recorder:
    """Makes the events and hands them to the observers. What fails of these is logged, and changes nothing else."""

    def __init__(
        self,
        observers: Sequence[Observer],
        known: Set[str],
        meters: Sequence[Meter] = (),
        facts: Sequence[FactObserver] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self._observers = tuple(observers)
        self._meters = tuple(meters)
        self._facts = tuple(facts)
        self._tracer = tracer
        self._known = known
        self.in_flight: Counter[tuple[str, str]] = Counter()
        """Calls under way, by task type and operation."""

    def call(
        self,
        operation: Operation,
        task_type: str,
        caller: Caller,
        *,
        input_bytes: int | None = None,
        metadata: TaskExecutionMetadata = _NOBODY,
        listed: bool = False,
    ) -> AbstractContextManager[Call]:
        """Record what happens inside.

        :param listed: the task type is another service's, which lists it: no caller made it up.
        :raises ConnectorError: whatever is raised inside comes out as one, its message fit for a stranger.
        """
        label = task_type if listed or task_type in self._known else "unknown"
        return _Recording(self, operation, label, caller, input_bytes, metadata)

    def used(self, task_type: str, usage: Mapping[str, float]) -> None:
        """Have it counted what a served task type used on its platform, by unit."""
        for meter in self._meters if usage else ():
            try:
                meter(task_type, usage)
            except Exception:
                log.exception("a meter of usage failed")

    def fact(self, fact: Fact) -> None:
        """Hand on what belongs to no one call."""
        _hand_to(self._facts, fact)

    def _begin(self, operation: Operation, task_type: str, caller: Caller) -> CallSpan | None:
        self.in_flight[task_type, operation] += 1
        if self._tracer is None:
            return None
        try:
            return self._tracer.call(operation, task_type, caller)
        except Exception:
            log.exception("a call could not be traced")
            return None

    def _end(self, event: CallEvent, span: CallSpan | None) -> None:
        self.in_flight[event.task_type, event.operation] -= 1
        _hand_to(self._observers, event)
        if span is not None:
            _hand_to((span.end,), event)


class _Recording:
    """One call, from its beginning to its event. A class: a generator with ``contextmanager`` costs twice as much."""

    __slots__ = (
        "_call",
        "_caller",
        "_input_bytes",
        "_metadata",
        "_of",
        "_operation",
        "_span",
        "_started",
        "_task_type",
    )

    def __init__(  # noqa: PLR0917 - called for every call, by the recorder alone
        self,
        of: Recorder,
        operation: Operation,
        task_type: str,
        caller: Caller,
        input_bytes: int | None,
        metadata: TaskExecutionMetadata,
    ) -> None:
        self._of = of
        self._operation = operation
        self._task_type = task_type
        self._caller = caller
        self._input_bytes = input_bytes
        self._metadata = metadata
        self._call = Call()

    def __enter__(self) -> Call:
        self._started = now()
        self._span = self._of._begin(self._operation, self._task_type, self._caller)
        return self._call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end("OK", None)
        elif isinstance(error, ConnectorError):
            error.message = presentable(error.message)
            self._end(status_of(error), error)
        elif isinstance(error, Exception):
            failure = bug(self._task_type, self._operation, error)
            self._end(status_of(failure), failure)
            raise failure from error
        else:
            self._end("CANCELLED", None)

    def _end(self, status: str, failure: ConnectorError | None) -> None:
        call, caller, metadata = self._call, self._caller, self._metadata
        fault = failure or call.hidden
        event = CallEvent.of(
            operation=self._operation,
            task_type=self._task_type,
            protocol=caller.protocol,
            status=status,
            seconds=now() - self._started,
            phase=call.phase,
            attempts=call.attempts,
            key=call.key,
            repeated=call.repeated,
            joined=call.joined,
            mismatch=call.mismatch,
            shielded=call.hidden is not None,
            unknown_states=call.unknown_states,
            input_bytes=self._input_bytes,
            peer=caller.peer,
            execution=metadata.task_execution_id,
            identity=metadata.identity,
            meta=call.meta,
            log_links=call.log_links,
            **(_of_fault(fault) if fault else {}),
        )
        self._of._end(event, self._span)


def _of_fault(fault: ConnectorError) -> dict[str, Any]:
    return {
        "error": type(fault).__name__,
        "message": fault.message,
        "error_id": fault.error_id if isinstance(fault, ConnectorBug) else "",
        "retry_denied": fault.retry_denied,
    }


def _hand_to(takers: Sequence[Callable[[T], None]], told: T) -> None:
    for take in takers:
        try:
            take(told)
        except Exception:
            log.exception("an observer of calls failed")
