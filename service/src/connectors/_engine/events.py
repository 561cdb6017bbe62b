"""One frozen event per call: metrics, logs and traces are made from it. What belongs to no one call is a fact of its
own, frozen as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple
from typing import Protocol as Interface

from connectors._engine.requests import Caller
from connectors._telemetry import RequestFault
from connectors.context import Protocol
from connectors.models import Identity, Phase, TaskExecutionId, TaskLog

__all__ = [
    "CallEvent",
    "CallSpan",
    "Fact",
    "FactObserver",
    "KeyOutcome",
    "Meter",
    "Observer",
    "Operation",
    "Outcome",
    "PlatformRequest",
    "RateLimit",
    "RateLimitPause",
    "RequestSpan",
    "TokenRefresh",
    "Tracer",
]

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
    joined: bool = False
    """Whether the call waited for another one's work that was under way in this server."""
    mismatch: bool = False
    """Whether that create's request differed, though both have the same derived key."""
    shielded: bool = False
    """Whether a fault was hidden: behind the last known phase, or as a deletion that is carried out later."""
    unknown_states: tuple[str, ...] = ()
    """States of the platform's that the connector does not know."""
    input_bytes: int | None = None
    peer: str = ""
    execution: TaskExecutionId | None = None
    identity: Identity = field(default_factory=Identity)
    """Whom the backend runs the task as, where the request says so."""
    meta: bytes = b""
    """The job's, as its connector writes it, where it is known."""
    log_links: tuple[TaskLog, ...] = ()
    """Where people can see the job, as the answer says it."""

    @classmethod
    def of(cls, **values: Any) -> CallEvent:
        """As the class itself, by name: one is made for every call, and the frozen class's own takes three times as
        long.
        """
        event = object.__new__(cls)
        event.__dict__.update(_UNSAID, **values)
        return event


_UNSAID = {each.name: getattr(CallEvent("", "", "local", "", 0.0), each.name) for each in fields(CallEvent)}

Observer = Callable[[CallEvent], None]

Meter = Callable[[str, Mapping[str, float]], None]
"""Told of what a task type's calls used on its platform, by unit. It is apart from the calls' events: a create or a
``do`` goes on, and is paid for, when no call waits for it any more."""


Outcome = Literal["new", "repeated", "waited", "adopted", "cancelled", "unknown"]
"""What came of a key. ``new``: a job was made, or a ``do`` carried out. ``repeated``: the record had the answer.
``waited``: another server was at work on it, and its answer is the answer. ``adopted``: the job of the attempt before
was taken over. ``cancelled``: it was cancelled, before this one's was made. ``unknown``: it failed, with no proof that
no job was made.
"""


class KeyOutcome(NamedTuple):
    """What came of a create or a ``do``, told when it ends. It may outlive every call that waited for it."""

    task_type: str
    outcome: Outcome
    key: str
    """Of the create, also where the job of the attempt before is what was cancelled."""
    meta: bytes = b""
    """The job's; of what was cancelled, where that is the outcome."""
    heard: bool = True
    """Whether a caller waits for the answer."""
    execution: TaskExecutionId | None = None


@dataclass(frozen=True)
class PlatformRequest:
    """One HTTP request of a connector's."""

    plugin: str
    task_type: str
    method: str
    status: int | None
    """None: there was no whole answer, and ``fault`` says why."""
    fault: RequestFault | None
    seconds: float


@dataclass(frozen=True)
class TokenRefresh:
    """A connector fetched an access token, or tried to."""

    plugin: str
    task_type: str
    succeeded: bool


@dataclass(frozen=True)
class RateLimit:
    """A platform refused a try because there were too many."""

    task_type: str


@dataclass(frozen=True)
class RateLimitPause:
    """A call waits, before it tries again what was refused so."""

    task_type: str
    seconds: float


Fact = KeyOutcome | PlatformRequest | TokenRefresh | RateLimit | RateLimitPause

FactObserver = Callable[[Fact], None]


class CallSpan(Interface):
    """A call, as a trace has it."""

    def end(self, event: CallEvent) -> None:
        """It ended so."""


class RequestSpan(Interface):
    """A request to a platform, as a trace has it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells the platform which trace the request belongs to."""

    def end(self, event: PlatformRequest) -> None:
        """It ended so."""


class Tracer(Interface):
    """Makes spans. Children find their parent by what runs in whose context, as asyncio's tasks inherit it."""

    def call(self, operation: Operation, task_type: str, caller: Caller) -> CallSpan:
        """A call begins, in this task, which also ends it."""

    def request(self, method: str, scheme: str, host: str, port: int | None) -> RequestSpan:
        """A request to a platform begins."""
