"""The calls that were made last: few, and little of each."""

from __future__ import annotations

from collections import deque
from itertools import count
from time import time
from typing import TYPE_CHECKING, NamedTuple

from connectors.secrets import redact

if TYPE_CHECKING:
    from connectors._engine.events import CallEvent
    from connectors.models import TaskExecutionId, TaskLog

__all__ = ["RecentCall", "RecentCalls"]

_CALLS = 200
_FAULTS = 20
_LONGEST_TEXT = 300  # characters
_LONGEST_LINK = 2_000


class RecentCall(NamedTuple):
    """What is kept of a call: texts that are cut, and neither meta nor inputs, which may be large."""

    number: int
    ended: float
    """Seconds since 1970."""
    operation: str
    task_type: str
    status: str
    phase: str
    seconds: float
    attempts: int
    repeated: bool
    shielded: bool
    error: str
    message: str
    error_id: str
    key: str
    execution: str
    link: str
    """To the job on its platform: http or https, or ""."""

    @property
    def is_fault(self) -> bool:
        """Whether it failed, or would have but for the shield. That its caller left is no fault."""
        return self.shielded or self.status not in ("OK", "CANCELLED")


class RecentCalls:
    """The last 200 calls, and the last 20 that met a fault: where there are many polls these would soon be gone."""

    def __init__(self) -> None:
        self.calls: deque[RecentCall] = deque(maxlen=_CALLS)
        self.faults: deque[RecentCall] = deque(maxlen=_FAULTS)
        self.hidden: dict[str, RecentCall] = {}
        """The last poll whose fault was hidden, by task type."""
        self._numbers = count(1)

    def observe(self, event: CallEvent) -> None:
        """Keep one call; an observer for the engine."""
        call = RecentCall(
            next(self._numbers),
            time(),
            event.operation[:_LONGEST_TEXT],
            event.task_type,
            event.status,
            event.phase.name if event.phase else "",
            event.seconds,
            event.attempts,
            event.repeated,
            event.shielded,
            event.error,
            redact(event.message)[:_LONGEST_TEXT],  # before a cut leaves half a secret
            event.error_id,
            event.key,
            _place(event.execution) if event.execution else "",
            _link(event.log_links) if event.log_links else "",
        )
        self.calls.appendleft(call)
        if call.is_fault:
            self.faults.appendleft(call)
            if call.shielded:
                self.hidden[call.task_type] = call


def _place(its: TaskExecutionId) -> str:
    parts = (its.project, its.domain, its.execution, its.node_id, str(its.retry_attempt))
    return redact("/".join(parts))[:_LONGEST_TEXT]


def _link(links: tuple[TaskLog, ...]) -> str:
    for link in links:
        if link.uri.startswith(("https://", "http://")) and len(link.uri) <= _LONGEST_LINK:
            return link.uri
    return ""
