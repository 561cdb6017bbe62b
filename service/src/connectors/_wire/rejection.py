"""Requests that end in the wire: before the engine saw them, or because their answer cannot be written.

The engine tells of every call that reached it by an event; these are told of by ``on_rejected``, as the transport does
with its own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TypeAlias

from connectors._engine.outcome import status_of
from connectors._messages.decoding import Malformed
from connectors._wire.status import Status, StatusError
from connectors._wire.transport import Call, Route
from connectors.errors import ConnectorError, InvalidRequest

__all__ = ["OnRejected", "Reason", "Rejected", "guarded", "reading"]

OnRejected: TypeAlias = Callable[[str, Status, str], None]
"""Told of the method, the status and the reason of each rejected call. It must not raise."""


class Reason(enum.StrEnum):
    """Why the wire ended a call: a small, fixed set, fit for a metric's label."""

    MALFORMED = "malformed"
    INVALID_FIELD = "invalid_field"
    INVALID_METADATA = "invalid_metadata"
    TRUNCATED = "truncated"
    UNKNOWN_NAME = "unknown_name"
    TOO_MANY_WATCHERS = "too_many_watchers"


class Rejected(StatusError):
    """Ends a call with a status of the wire's own."""

    def __init__(self, status: Status, reason: Reason, message: str) -> None:
        super().__init__(status, message)
        self.reason = reason


class _Reading:
    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Malformed):
            raise Rejected(Status.INTERNAL, Reason.MALFORMED, str(error)) from None
        if isinstance(error, InvalidRequest):
            raise Rejected(Status.INVALID_ARGUMENT, Reason.INVALID_FIELD, error.message) from None


_READING = _Reading()


def reading() -> _Reading:
    """While a request is read: what is wrong with it rejects the call.

    INTERNAL for bytes that do not parse, as gRPC has it (https://grpc.io/docs/guides/status-codes/), INVALID_ARGUMENT
    for what they say.
    """
    return _READING


def guarded(route: Route, on_rejected: OnRejected) -> Route:
    """The route, its errors given their statuses and its rejections told of."""

    async def handler(call: Call) -> None:
        try:
            await route.handler(call)
        except Rejected as error:
            on_rejected(call.method, error.status, error.reason)
            raise
        except ConnectorError as error:
            raise StatusError(Status[status_of(error)], error.message) from error

    return replace(route, handler=handler)
