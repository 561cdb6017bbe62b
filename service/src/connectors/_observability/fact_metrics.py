"""What is counted of facts that belong to no one call: keys, platforms, tokens, the store."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram

from connectors._engine.events import (
    Fact,
    KeyOutcome,
    PlatformRequest,
    RateLimit,
    RateLimitPause,
    TokenRefresh,
)
from connectors._observability.families import CALL_SECONDS, PREFIX, Children, counter

if TYPE_CHECKING:
    from connectors._engine.events import CallEvent
    from connectors._stores.watched import StoreFault

__all__ = ["FactMetrics"]

_STORE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STATUSES = {status.value: str(status.value) for status in HTTPStatus}
"""A platform may answer any number: one that HTTP does not know is ``other``."""


class FactMetrics:
    """Counts facts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        connector = ("plugin", "task_type")
        self._outcomes = Children(
            counter(
                registry,
                "idempotency",
                "What came of the idempotency keys of creates and dos.",
                "task_type",
                "outcome",
            )
        )
        self._requests = Children(
            counter(
                registry,
                "platform_requests",
                "HTTP requests to platforms, by the answer's status, or why there was none.",
                *connector,
                "status",
            )
        )
        self._request_seconds = Children(
            Histogram(
                f"{PREFIX}_platform_request_duration_seconds",
                "From sending a request to a platform to the whole answer, or to giving it up.",
                connector,
                registry=registry,
                buckets=CALL_SECONDS,
            )
        )
        self._rate_limited = Children(
            counter(registry, "rate_limited", "Tries that a platform refused for being too many.", "task_type")
        )
        self._rate_limited_seconds = Children(
            counter(registry, "rate_limited_seconds", "What calls then waited before they tried again.", "task_type")
        )
        self._tokens = Children(
            counter(
                registry, "token_refreshes", "Access tokens that were fetched, or could not be.", *connector, "outcome"
            )
        )
        self._store_seconds = Children(
            Histogram(
                f"{PREFIX}_store_duration_seconds",
                "What the idempotency store took to answer, or to fail.",
                ["operation"],
                registry=registry,
                buckets=_STORE_SECONDS,
            )
        )
        self._store_errors = Children(
            counter(registry, "store_errors", "Calls of the idempotency store that failed.", "operation", "error")
        )

    def observe(self, event: CallEvent) -> None:
        """Count what a create or a ``do`` tells of its key by itself: that it waited for another one here, that its
        caller's key was another request's, or that its request is not the first one's.
        """
        if event.operation not in ("create", "do"):
            return
        if event.joined:
            self._outcomes.of(event.task_type, "waited").inc()
        if event.error == "KeyUsed":
            self._outcomes.of(event.task_type, "conflict").inc()
        if event.mismatch:
            self._outcomes.of(event.task_type, "mismatch").inc()

    def fact(self, fact: Fact) -> None:
        """Count one fact."""
        match fact:
            case PlatformRequest():
                status = _STATUSES.get(fact.status, "other") if fact.status is not None else str(fact.fault)
                self._requests.of(fact.plugin, fact.task_type, status).inc()
                self._request_seconds.of(fact.plugin, fact.task_type).observe(fact.seconds)
            case KeyOutcome():
                self._outcomes.of(fact.task_type, fact.outcome).inc()
            case RateLimit():
                self._rate_limited.of(fact.task_type).inc()
            case RateLimitPause():
                self._rate_limited_seconds.of(fact.task_type).inc(fact.seconds)
            case TokenRefresh():
                outcome = "ok" if fact.succeeded else "failed"
                self._tokens.of(fact.plugin, fact.task_type, outcome).inc()

    def store(self, operation: str, seconds: float | None, fault: StoreFault | None) -> None:
        """Count one call of the store.

        :param operation: the store's method. :param seconds: None where it was not asked.
        """
        if seconds is not None:
            self._store_seconds.of(operation).observe(seconds)
        if fault is not None:
            self._store_errors.of(operation, fault).inc()
