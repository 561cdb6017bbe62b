"""What the wire hands to the engine: the same for both protocols, decoded no further than the engine needs at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from connectors.context import Protocol
from connectors.models import LiteralType, Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate

__all__ = ["Caller", "CreateRequest", "JobRequest", "StoredForms"]


_NOTHING: Mapping[str, str] = MappingProxyType({})


class Caller(NamedTuple):
    """Who calls, and how. A named tuple, as it is made for every call: a frozen dataclass takes four times as long."""

    protocol: Protocol
    deadline: float | None = None
    """The caller's own, an instant on the event loop's clock (seconds)."""
    peer: str = ""
    method: str = ""
    """The path of the RPC, `/package.Service/Method`; "" in process."""
    trace: Mapping[str, str] = _NOTHING
    """The request's trace context: ``traceparent`` and ``tracestate`` (https://www.w3.org/TR/trace-context/)."""
    idempotency_key: str = ""
    """The request's ``idempotency-key`` metadata, or ""."""
    secrets: Mapping[str, str] = _NOTHING
    """What the request's connection brought."""
    on_answered: Callable[[Callable[[bool], None]], None] | None = None
    """Takes a callback, which is told once on the event loop: True when the answer left while the caller was there,
    False when nobody can have had it. None where that is not known."""

    def __repr__(self) -> str:
        return f"Caller({self.protocol!r}, peer={self.peer!r}, method={self.method!r})"


@dataclass(frozen=True)
class CreateRequest:
    """A create, or a do. The callables decode when they are called; they raise InvalidRequest."""

    caller: Caller
    category: TaskCategory
    output_prefix: str
    metadata: TaskExecutionMetadata
    template: Callable[[], TaskTemplate]
    inputs: Callable[[], Mapping[str, Any]]
    input_bytes: int = 0
    """The inputs' size on the wire."""
    template_bytes: int = 0
    """The template's, likewise."""
    stored_form: Callable[[], bytes] = bytes
    """The request as bytes, without the connection: what another replica needs to run a ``do`` again."""


class JobRequest(NamedTuple):
    """A get, delete, get_logs or get_metrics."""

    caller: Caller
    category: TaskCategory
    meta: bytes
    output_prefix: str = ""


class StoredForms(ABC):
    """How the store's payloads are written: given by the wire, which knows how to write a resource."""

    @abstractmethod
    def fit(self, resource: Resource, declared: Mapping[str, LiteralType]) -> Resource:
        """The resource with its outputs in the form that the task declares, which every later step keeps.

        :raises ValueError, TypeError, InvalidRequest: an output does not fit, or has no form; the message names it.
        """

    def is_large(self, resource: Resource) -> bool:
        """Whether :meth:`fit` or :meth:`encode_result` of this resource would hold the event loop."""
        return False

    @abstractmethod
    def encode_result(self, resource: Resource) -> bytes:
        """A sync connector's answer as bytes.

        :raises TypeError, ValueError: an output has no form on the wire; the message names it.
        """

    @abstractmethod
    def decode_result(self, data: bytes) -> Resource:
        """What :meth:`encode_result` wrote."""

    @abstractmethod
    def decode_request(self, data: bytes, caller: Caller) -> CreateRequest:
        """What :attr:`CreateRequest.stored_form` wrote, as if ``caller`` had sent it."""
