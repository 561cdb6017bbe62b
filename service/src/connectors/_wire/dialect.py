"""What the two protocols do not share, as one object each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar

from connectors._engine.requests import Caller
from connectors._messages.encoding import serialise
from connectors._messages.late_parts import LateParts
from connectors._messages.resources import is_phase_alone
from connectors._wire.envelopes import Envelope
from connectors._wire.rejection import Reason, Rejected
from connectors._wire.status import Status
from connectors._wire.transport import Call
from connectors.context import Protocol
from connectors.errors import InvalidRequest
from connectors.models import LogPage, Phase, Resource, TaskCategory

__all__ = ["IDEMPOTENCY_KEY", "Dialect", "caller_of"]

IDEMPOTENCY_KEY = "idempotency-key"
"""The metadata in which a caller may name its request: the same name, the same job."""
_LONGEST_KEY = 255
_TRACE = ("traceparent", "tracestate")


class Dialect(ABC):
    """One protocol's messages, where they differ from the other's."""

    protocol: ClassVar[Protocol]
    calls: ModuleType
    """The generated requests and answers."""
    core: ModuleType
    """The generated literals, templates and identifiers."""

    inputs: ClassVar[type[Any]]
    """The message that holds a task's inputs."""
    streamed: ClassVar[Collection[type[Any]]]
    """What of it can be read as a stream (:func:`connectors._messages.decoding.parse`)."""

    @abstractmethod
    def read_inputs(self, message: Any) -> Mapping[str, Any]:
        """The inputs' native values. :raises InvalidRequest: one has none; the message names it."""

    @abstractmethod
    def write_resource(self, resource: Resource) -> Any:
        """``calls.Resource``. :raises ValueError: a value has no form on the wire; the message names it."""

    def answer(self, resource: Resource) -> bytes:
        """A ``GetTaskResponse``. :raises ValueError: as :meth:`write_resource`."""
        if not is_phase_alone(resource):
            return self._written(resource)
        known = self._phases_alone.get(resource.phase)
        if known is None:
            known = self._phases_alone[resource.phase] = self._written(resource)
        return known

    @cached_property
    def late_parts(self) -> LateParts:
        """Reads small creates."""
        return LateParts(self.core, self.calls)

    @cached_property
    def _phases_alone(self) -> dict[Phase, bytes]:
        """The answers that are a phase and nothing else: to write one takes 20 µs."""
        return {}

    def _written(self, resource: Resource) -> bytes:
        return serialise(self.calls.GetTaskResponse(resource=self.write_resource(resource)))

    @abstractmethod
    def write_logs(self, page: LogPage) -> Any:
        """``calls.GetTaskLogsResponseBody``. :raises ValueError: as :meth:`write_resource`."""

    def secrets(self, connection: Any) -> Mapping[str, str]:
        """The secrets in a request's connection; Flyte 1 has no such thing."""
        return {}

    def secrets_in(self, envelope: Envelope) -> Mapping[str, str]:
        """The secrets that a create brought."""
        return {}

    def stored_form(self, envelope: Envelope) -> bytes:
        """The create as bytes that hold no secret: what runs a sync connector's call again. Flyte 1 runs none as a
        job.
        """
        return b""

    def category(self, request: Any) -> TaskCategory:
        """The task type of a request about a job. :raises InvalidRequest: it names none."""
        asked = request.task_category
        if asked is None or not asked.name:
            raise InvalidRequest("task_category.name is empty: it names the connector")
        return TaskCategory(asked.name, asked.version)


def caller_of(call: Call, protocol: Protocol, secrets: Mapping[str, str] | None = None) -> Caller:
    """Who calls.

    :raises Rejected: the call's idempotency key is empty, longer than 255 characters, or not printable ASCII.
    """
    metadata = call.metadata
    key = metadata.get(IDEMPOTENCY_KEY)
    wrong_length = key is not None and not 0 < len(key.strip()) <= _LONGEST_KEY
    # A key that cannot be read is not a call without one: its repeat would start a second job.
    if wrong_length or IDEMPOTENCY_KEY in call.undecodable:
        message = f"the metadata {IDEMPOTENCY_KEY} must be 1 to {_LONGEST_KEY} printable ASCII characters"
        raise Rejected(Status.INVALID_ARGUMENT, Reason.INVALID_METADATA, message)
    return Caller(
        protocol=protocol,
        deadline=call.deadline,
        peer=call.peer,
        method=call.method,
        trace={name: metadata[name] for name in _TRACE if name in metadata},
        idempotency_key=key.strip() if key else "",
        secrets=secrets or {},
        on_answered=call.on_answered,
    )
