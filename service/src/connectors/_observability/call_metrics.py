"""What is counted of calls, from one event each. The first four have the names, types and labels of the reference
service's: see :mod:`connectors._observability.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary

from connectors._observability.families import CALL_SECONDS, Bounded, Children, counter

if TYPE_CHECKING:
    from connectors._engine.events import CallEvent

__all__ = ["CallMetrics"]

_USAGE = ("task_type", "unit")
_MOST_UNITS = 20
_ORPHANS = {
    "reap_lost": ("lost", "cancelled"),
    "reap_idle": ("idle", "cancelled"),
    "report_idle": ("idle", "reported"),
    "report_unknown": ("unknown", "reported"),
}
"""What the server finds of its own accord, by operation."""


class _OfCalls:
    """What every call of one task type and operation adds to."""

    __slots__ = ("duration", "latency", "success")

    def __init__(self, success: Counter, latency: Summary, duration: Histogram) -> None:
        self.success = success
        self.latency = latency
        self.duration = duration


class CallMetrics:
    """Counts calls. A call that went well looks up one dictionary: labels are resolved once for each series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        call = ("task_type", "operation")
        self._success = counter(registry, "requests_success", "Calls that were answered with OK.", *call)
        failure = counter(registry, "requests_failure", "Calls that were not.", *call, "error_code")
        self._latency = Summary(
            "flyte_connector_request_latency_seconds",
            "From a call's arrival to its answer, whatever the answer was.",
            call,
            registry=registry,
        )
        self._duration = Histogram(
            "flyte_connector_request_duration_seconds",
            "From a call's arrival to its answer, whatever the answer was.",
            call,
            registry=registry,
            buckets=CALL_SECONDS,
        )
        self._calls: dict[tuple[str, str], _OfCalls] = {}
        self._failure = Children(failure)
        self._input_bytes = Children(
            Summary(
                "flyte_connector_input_literal_bytes",
                "The size of a task's inputs, as the caller encoded them.",
                ["task_type"],
                registry=registry,
            )
        )
        self._refused = Children(
            counter(
                registry,
                "admission_refused",
                "Calls for which no slot came free: answered RESOURCE_EXHAUSTED, or a poll with the last known phase.",
                *call,
            )
        )
        self._retries = Children(counter(registry, "retries", "Tries of a call to a connector after the first.", *call))
        self._retries_denied = Children(
            counter(
                registry,
                "retries_denied",
                "Calls that were not tried again because the retry budget was spent.",
                "task_type",
            )
        )
        self._repeats = Children(
            counter(registry, "repeats", "Calls that were answered with an earlier call's result.", *call)
        )
        self._shielded = Children(
            counter(
                registry,
                "shielded",
                "Polls whose fault was hidden behind the job's last known phase.",
                "task_type",
                "error",
            )
        )
        self._put_off = Children(
            counter(
                registry,
                "deletions_put_off",
                "Deletions that could not be carried out in time, and are carried out later.",
                "task_type",
                "error",
            )
        )
        self._errors = Bounded()
        self._unknown_states = Children(
            counter(
                registry,
                "unknown_states",
                "States of a platform's that its connector did not know, at each poll.",
                "task_type",
            )
        )
        self._usage = Children(
            counter(registry, "usage", "What connectors say that their platforms charge for, such as tokens.", *_USAGE)
        )
        self._units: dict[str, Bounded] = {}
        self._orphans = Children(
            counter(
                registry,
                "orphans",
                "Jobs, or creates of unknown outcome, that nobody asked for any more, by what became of them.",
                "task_type",
                "kind",
                "fate",
            )
        )

    def observe(self, event: CallEvent) -> None:
        """Count one call."""
        call = (event.task_type, event.operation)
        of = self._calls.get(call)
        if of is None:
            of = self._calls[call] = _OfCalls(
                self._success.labels(*call), self._latency.labels(*call), self._duration.labels(*call)
            )
        of.latency.observe(event.seconds)
        of.duration.observe(event.seconds)
        if event.status == "OK":
            of.success.inc()
        else:
            self._failure.of(*call, event.status).inc()
        if event.input_bytes is not None:
            self._input_bytes.of(event.task_type).observe(event.input_bytes)
        if event.status != "OK" or event.shielded:
            self._count_fault(event)
        if event.unknown_states:
            self._unknown_states.of(event.task_type).inc(len(event.unknown_states))
        if event.repeated:
            self._repeats.of(*call).inc()
        elif event.attempts > 1:  # a repeat reports the tries of the call that it joined: those are counted there
            self._retries.of(*call).inc(event.attempts - 1)
        if event.operation in _ORPHANS:
            self._orphans.of(event.task_type, *_ORPHANS[event.operation]).inc()

    def _count_fault(self, event: CallEvent) -> None:
        if event.shielded:
            hidden = self._put_off if event.operation == "delete" else self._shielded
            hidden.of(event.task_type, self._errors.of(event.error)).inc()
        if event.repeated:
            return  # it is the fault of the call that this one joined
        if event.error == "AdmissionRefused":
            self._refused.of(event.task_type, event.operation).inc()
        if event.retry_denied:
            self._retries_denied.of(event.task_type).inc()

    def used(self, task_type: str, usage: Mapping[str, float]) -> None:
        """Count what a task type's calls used, by unit. Units past the 20th of a task type are counted as ``other``."""
        units = self._units.setdefault(task_type, Bounded(most=_MOST_UNITS))
        for unit, amount in usage.items():
            self._usage.of(task_type, units.of(unit)).inc(amount)
