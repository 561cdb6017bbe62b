"""One frozen event per call. Metrics, logs and traces are made from it and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.context import Protocol
from connectors.models import Phase, TaskExecutionId

__all__ = ["CallEvent", "Meter", "Observer", "Operation"]

Operation = str
"""create, get, delete, do, get_logs, get_metrics, or a rejected request's method. What a server does of its own accord:
``reap`` cancels a job; ``reap_lost`` and ``reap_idle`` find one to be cancelled, whose answer reached nobody or that is
not polled any more; ``report_idle`` and ``report_unknown`` are for a person.
"""


@dataclass(frozen=True)
class CallEvent:
    """What one call was and how it ended."""

    operation: Operation
    task_type: str
    """A task type that a connector serves, or ``unknown``: callers cannot make up label values."""
    protocol: Protocol
    status: str
    """The gRPC status's name: OK, NOT_FOUND …"""
    seconds: float
    """From the request's arrival to the answer."""
    error: str = ""
    """The error's class, or ""."""
    message: str = ""
    """What the caller was told, where it failed."""
    error_id: str = ""
    """Names the traceback in the log, where the connector had a bug."""
    phase: Phase | None = None
    attempts: int = 0
    """How often the connector was called."""
    retry_denied: bool = False
    """Whether it would have been called again, were there anything left of its retry budget."""
    key: str = ""
    """The idempotency key."""
    repeated: bool = False
    """Whether the answer was an earlier create's."""
    mismatch: bool = False
    """Whether that create's request differed, though both have the same derived key."""
    shielded: bool = False
    """Whether a fault was hidden: behind the last known phase, or as a deletion that is carried out later."""
    unknown_states: tuple[str, ...] = ()
    """States of the platform's that the connector does not know."""
    input_bytes: int | None = None
    peer: str = ""
    execution: TaskExecutionId | None = None


Observer = Callable[[CallEvent], None]

Meter = Callable[[str, Mapping[str, float]], None]
"""Told of what a task type's calls used on its platform, by unit. It is apart from the calls' events: a create or a
``do`` goes on, and is paid for, when no call waits for it any more."""
