"""What the code that a connector calls tells of itself: its requests to the platform, the tokens that it fetches.

The engine says who is told, for each call of a connector. Whatever that call starts, be it a task or a thread, inherits
it. Where nobody wants to know, nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Literal, Protocol

__all__ = ["Outgoing", "RequestFault", "Telemetry", "current", "tell"]

RequestFault = Literal["timeout", "unreachable", "cancelled"]
"""Why a request has no whole answer: not in time, no connection or one that broke off, or its caller gave up."""


class Outgoing(Protocol):
    """One request to a platform, from when it is sent."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is to be sent with it, unless the connector sends a header of that name itself: the trace's context."""

    def ended(self, *, status: int | None = None, fault: RequestFault | None = None) -> None:
        """It is over: called once.

        :param status: of the answer, where there is a whole one; else ``fault`` says why there is none.
        """


class Telemetry(Protocol):
    """Is told what a connector's calls do. Its methods are called on the event loop, and raise nothing."""

    def request(self, method: str, scheme: str, host: str, port: int | None) -> Outgoing:
        """A request is about to be sent. Its path and query are not asked for: either may hold a secret."""

    def refreshed(self, *, succeeded: bool) -> None:
        """An access token was fetched, or could not be."""


_current: ContextVar[Telemetry | None] = ContextVar("connectors_telemetry", default=None)


def current() -> Telemetry | None:
    """Who is told about what runs now."""
    return _current.get()


def tell(telemetry: Telemetry) -> None:
    """Have ``telemetry`` told about what this task does from here on, and what it starts."""
    _current.set(telemetry)
