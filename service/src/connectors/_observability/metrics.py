"""Prometheus metrics, made from the engine's events and facts, in a registry of their own.

The first four have the names, types and labels that Flyte 1's connector service (flytekit 1.16.31) exports, so that
dashboards go on working. One value differs: ``error_code`` is the gRPC status's name (``NOT_FOUND``), where that
service writes an HTTP number for the two that it tells apart. Label values are bounded: no caller, and no platform, can
make up a series. docs/operate/metrics.md is the list of all of them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from connectors._observability.call_metrics import CallMetrics
from connectors._observability.fact_metrics import FactMetrics
from connectors._observability.families import PREFIX, Children, counter
from connectors._observability.readings import EngineReadings, FallbackReadings, StoreReadings

if TYPE_CHECKING:
    from connectors._engine.engine import Engine
    from connectors._engine.events import CallEvent, Fact
    from connectors._registry import LoadFailure, Registered
    from connectors._stores.watched import StoreFault

__all__ = ["Metrics"]

_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The server's metrics. :meth:`observe`, :meth:`fact` and :meth:`used` are what the engine is given."""

    def __init__(self, *, version: str) -> None:
        registry = self.registry = CollectorRegistry()
        self.methods: Collection[str] = frozenset()
        """The paths of the RPCs that are served: a rejected call to any other is labelled ``unknown``."""
        self._calls = CallMetrics(registry)
        self._facts = FactMetrics(registry)
        self._engine = EngineReadings()
        registry.register(self._engine)
        self._rejected = Children(
            counter(
                registry,
                "rejected",
                "Calls that never reached a connector's code: refused by the transport.",
                "method",
                "reason",
            )
        )
        self._load_errors = Gauge(
            f"{PREFIX}_plugin_load_errors",
            "What of a plugin could not be loaded or started, by the plugin's entry point and at what it failed.",
            ["plugin", "distribution", "reason"],
            registry=registry,
        )
        self._connectors = Gauge(
            f"{PREFIX}_connector_info",
            "Always 1, for each connector that is served.",
            ["task_type", "task_type_version", "kind", "plugin", "distribution", "distribution_version"],
            registry=registry,
        )
        self._lag = Histogram(
            f"{PREFIX}_event_loop_lag_seconds",
            "How late a timer of the event loop ran; four a second.",
            registry=registry,
            buckets=_LAG_SECONDS,
        )
        self._blocked = Children(
            counter(
                registry,
                "event_loop_blocked",
                "How often the event loop stood still for half a second, by the connector whose code ran.",
                "task_type",
            )
        )
        self._connections = Gauge(
            f"{PREFIX}_connections", "Connections to the gRPC port that are open.", registry=registry
        )
        self._tls_reloads = Children(
            counter(
                registry,
                "tls_reloads",
                "Changes of the certificate's files that were taken over, or could not be.",
                "outcome",
            )
        )
        self._ready = Gauge(
            f"{PREFIX}_ready", "1 while calls are served, 0 while the server starts or drains.", registry=registry
        )
        Gauge(
            f"{PREFIX}_build_info",
            "Always 1; the labels say what is running.",
            ["version", "python"],
            registry=registry,
        ).labels(version, platform.python_version()).set(1)
        # The process's own (memory, CPU, open files, garbage collection), as the reference exports them.
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def observe(self, event: CallEvent) -> None:
        """Count one call."""
        self._calls.observe(event)
        self._facts.observe(event)

    def fact(self, fact: Fact) -> None:
        """Count what belongs to no one call."""
        self._facts.fact(fact)

    def used(self, task_type: str, usage: Mapping[str, float]) -> None:
        """Count what a task type's calls used, by unit. Units past the 20th of a task type are counted as ``other``."""
        self._calls.used(task_type, usage)

    def store(self, operation: str, seconds: float | None, fault: StoreFault | None) -> None:
        """Count a call of the idempotency store."""
        self._facts.store(operation, seconds, fault)

    def rejected(self, method: str, reason: str) -> None:
        """Count a call that the transport refused.

        :param method: as the caller sent it. :param reason: one of a small, fixed set.
        """
        self._rejected.of(method if method in self.methods else "unknown", reason).inc()

    def plugin_failures(self, failures: Iterable[LoadFailure]) -> None:
        """Show what could not be loaded."""
        self._load_errors.clear()
        for failure in failures:
            self._load_errors.labels(failure.plugin, failure.distribution, failure.kind).inc()

    def connectors(self, served: Iterable[Registered]) -> None:
        """Show what is served."""
        self._connectors.clear()
        for each in served:
            self._connectors.labels(
                each.category.name,
                str(each.category.version),
                each.kind,
                each.plugin,
                each.distribution,
                each.distribution_version,
            ).set(1)

    def lagged(self, seconds: float) -> None:
        """Count one reading of the event loop's lag."""
        self._lag.observe(seconds)

    def blocked(self, task_type: str) -> None:
        """Count that the event loop stood still, in the code of a task type's connector or in ``unknown``."""
        self._blocked.of(task_type).inc()

    def tls_reloaded(self, is_in_use: bool) -> None:
        """Count a change of the certificate's files: one that is in use now, or one that cannot be."""
        self._tls_reloads.of("ok" if is_in_use else "failed").inc()

    def show_connections(self, count: Callable[[], int]) -> None:
        """Have ``flyte_connector_connections`` read whenever it is asked for."""
        self._connections.set_function(count)

    def ready(self, is_ready: bool) -> None:
        """Show whether calls are served."""
        self._ready.set(int(is_ready))

    def show_engine(self, engine: Engine) -> None:
        """Have the calls under way, the limits, the threads and the shielded jobs read whenever they are asked for."""
        self._engine.engine = engine

    def show_store(self, is_up: Callable[[], bool], outages: Callable[[], int]) -> None:
        """Have ``flyte_connector_store_up`` and ``flyte_connector_store_outages_total`` read whenever they are asked
        for.
        """
        self.registry.register(StoreReadings(is_up, outages))

    def show_fallback(self, is_up: Callable[[], bool]) -> None:
        """Have ``flyte_connector_fallback_up`` read whenever it is asked for: of a server that has one."""
        self.registry.register(FallbackReadings(is_up))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics as text, in the format that an ``Accept`` header asks for, and its content type."""
        try:
            encode, content_type = choose_encoder(accept)
        except Exception:  # noqa: BLE001 - whatever the library makes of a header that is none: the default format
            encode, content_type = choose_encoder("")
        text: bytes = encode(self.registry)
        return text, content_type
