"""Prometheus metrics, made from one event per call, in a registry of their own.

The first four have the names, types and labels that Flyte 1's connector service (flytekit 1.16.31) exports, so that
dashboards go on working. One value differs: ``error_code`` is the gRPC status's name (``NOT_FOUND``), where that
service writes an HTTP number for the two that it tells apart. Label values are bounded: no caller can make up a
series.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    Summary,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from connectors._engine.events import CallEvent
    from connectors._registry import LoadFailure

__all__ = ["Metrics"]

_MOST_UNITS = 20
InFlight = Callable[[], Mapping[tuple[str, str], int]]


class Metrics:
    """The server's metrics. :meth:`observe` is the observer that the engine is given."""

    def __init__(self, *, version: str) -> None:
        self.registry = CollectorRegistry()
        self.methods: Collection[str] = frozenset()
        """The paths of the RPCs that are served: a rejected call to any other is labelled ``unknown``."""
        call = ("task_type", "operation")
        self._success = self._counter("requests_success", "Calls that were answered with OK.", call)
        self._failure = self._counter("requests_failure", "Calls that were not.", (*call, "error_code"))
        self._latency = Summary(
            "flyte_connector_request_latency_seconds",
            "From a call's arrival to its answer, whatever the answer was.",
            call,
            registry=self.registry,
        )
        self._input_bytes = Summary(
            "flyte_connector_input_literal_bytes",
            "The size of a task's inputs, as the caller encoded them.",
            ["task_type"],
            registry=self.registry,
        )
        self._retries = self._counter("retries", "Tries of a call to a connector after the first.", call)
        self._retries_denied = self._counter(
            "retries_denied", "Calls that were not tried again because the retry budget was spent.", ["task_type"]
        )
        self._repeats = self._counter("repeats", "Calls that were answered with an earlier call's result.", call)
        self._shielded = self._counter(
            "shielded", "Polls whose fault was hidden behind the job's last known phase.", ("task_type", "error")
        )
        self._put_off = self._counter(
            "deletions_put_off",
            "Deletions that could not be carried out in time, and are carried out later.",
            ("task_type", "error"),
        )
        self._unknown_states = self._counter(
            "unknown_states", "States of a platform's that its connector did not know, at each poll.", ["task_type"]
        )
        self._usage = self._counter(
            "usage", "What connectors say that their platforms charge for, such as tokens.", ("task_type", "unit")
        )
        self._units: dict[str, set[str]] = {}
        self._rejected = self._counter(
            "rejected", "Calls that never reached a connector's code: refused by the transport.", ("method", "reason")
        )
        self._load_errors = Gauge(
            "flyte_connector_plugin_load_errors",
            "What of a plugin could not be loaded or started, by the plugin's entry point and at what it failed.",
            ["plugin", "distribution", "reason"],
            registry=self.registry,
        )
        Gauge(
            "flyte_connector_build_info",
            "Always 1; the labels say what is running.",
            ["version", "python"],
            registry=self.registry,
        ).labels(version, platform.python_version()).set(1)
        # The process's own (memory, CPU, open files, garbage collection), as the reference exports them.
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Counter:
        return Counter(f"flyte_connector_{name}_total", text, list(labels), registry=self.registry)

    def observe(self, event: CallEvent) -> None:
        """Count one call."""
        call = (event.task_type, event.operation)
        if event.status == "OK":
            self._success.labels(*call).inc()
        else:
            self._failure.labels(*call, event.status).inc()
        self._latency.labels(*call).observe(event.seconds)
        if event.input_bytes is not None:
            self._input_bytes.labels(event.task_type).observe(event.input_bytes)
        if event.shielded:
            hidden = self._put_off if event.operation == "delete" else self._shielded
            hidden.labels(event.task_type, event.error).inc()
        if event.unknown_states:
            self._unknown_states.labels(event.task_type).inc(len(event.unknown_states))
        if event.repeated:
            self._repeats.labels(*call).inc()
        elif event.attempts > 1:  # a repeat reports the tries of the call that it joined: those are counted there
            self._retries.labels(*call).inc(event.attempts - 1)
        if event.retry_denied and not event.repeated:
            self._retries_denied.labels(event.task_type).inc()

    def used(self, task_type: str, usage: Mapping[str, float]) -> None:
        """Count what a task type's calls used, by unit. Units past the 20th of a task type are counted as ``other``."""
        known = self._units.setdefault(task_type, set())
        for unit, amount in usage.items():
            if len(known) < _MOST_UNITS:
                known.add(unit)
            self._usage.labels(task_type, unit if unit in known else "other").inc(amount)

    def rejected(self, method: str, reason: str) -> None:
        """Count a call that the transport refused.

        :param method: as the caller sent it. :param reason: one of a small, fixed set.
        """
        self._rejected.labels(method if method in self.methods else "unknown", reason).inc()

    def plugin_failures(self, failures: Iterable[LoadFailure]) -> None:
        """Show what could not be loaded."""
        self._load_errors.clear()
        for failure in failures:
            self._load_errors.labels(failure.plugin, failure.distribution, failure.kind).inc()

    def show_in_flight(self, calls: InFlight) -> None:
        """Have ``flyte_connector_in_flight`` read from ``calls`` whenever it is asked for: by task type and
        operation.
        """
        self.registry.register(_InFlightCollector(calls))

    def show_store(self, is_up: Callable[[], bool], outages: Callable[[], int]) -> None:
        """Have ``flyte_connector_store_up`` and ``flyte_connector_store_outages_total`` read whenever they are asked
        for.
        """
        self.registry.register(_StoreCollector(is_up, outages))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics as text, in the format that an ``Accept`` header asks for, and its content type."""
        try:
            encode, content_type = choose_encoder(accept)
        except Exception:  # noqa: BLE001 - whatever the library makes of a header that is none: the default format
            encode, content_type = choose_encoder("")
        text: bytes = encode(self.registry)
        return text, content_type


class _InFlightCollector(Collector):
    def __init__(self, calls: InFlight) -> None:
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("flyte_connector_in_flight", "Calls under way.", labels=["task_type", "operation"])
        for call, count in sorted(self._calls().items()):
            family.add_metric(list(call), count)
        yield family


class _StoreCollector(Collector):
    def __init__(self, is_up: Callable[[], bool], outages: Callable[[], int]) -> None:
        self._is_up = is_up
        self._outages = outages

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "flyte_connector_store_up", "1 while the idempotency store is in reach, else 0.", value=int(self._is_up())
        )
        yield CounterMetricFamily(
            "flyte_connector_store_outages", "How often the idempotency store went out of reach.", value=self._outages()
        )
