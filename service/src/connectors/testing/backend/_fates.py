"""What became of a task, and the calls that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from connectors.testing.backend._tasks import BackendTask

__all__ = ["Call", "Fate", "Outcome"]

Outcome = Literal["succeeded", "failed", "aborted", "stuck"]


@dataclass(frozen=True)
class Call:
    """One call to the service. Times are seconds since the backend was started."""

    operation: Literal["create", "get", "delete"]
    attempt: int
    """From 0 on, in both protocols."""
    at: float
    took: float
    answered: bool
    """False where it failed, or was not waited for."""
    result: str
    """OK, and of a get the phase's name; else the gRPC status's name, or GIVEN_UP where it was not waited for."""
    message: str = ""
    meta: bytes = b""
    """Of a create, what it was answered; else what was asked about."""


@dataclass(frozen=True)
class Fate:
    """How a task ended, as its user sees it. ``stuck``: it shows RUNNING, and nobody polls it any more."""

    task: BackendTask
    outcome: Outcome
    attempts: int
    """How many were begun."""
    reason: str = ""
    """Why it did not succeed."""
    outputs: Mapping[str, Any] | None = None
    """What the last poll of a task that succeeded held; None where the outputs are under its prefix."""
    calls: tuple[Call, ...] = ()
    """Everything that was asked on its behalf, in order of time."""

    @property
    def failed_calls(self) -> tuple[Call, ...]:
        """Those that failed, or were not waited for."""
        return tuple(call for call in self.calls if not call.answered)

    @property
    def metas(self) -> tuple[bytes, ...]:
        """What its creates were answered, each once."""
        return tuple(dict.fromkeys(call.meta for call in self.calls if call.operation == "create" and call.meta))
