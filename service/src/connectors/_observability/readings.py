"""What is read when the metrics are asked for: the state of the engine, of the store, of the connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connectors._observability.families import PREFIX

if TYPE_CHECKING:
    from connectors._engine.engine import Engine

__all__ = ["EngineReadings", "FallbackReadings", "StoreReadings"]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


class EngineReadings(Collector):
    """Before there is an engine, its metrics have no series."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    def collect(self) -> Iterator[Metric]:
        """The engine's gauges."""
        in_flight = _gauge("in_flight", "Calls under way.", "task_type", "operation")
        taken = _gauge("admission_taken", "Calls of a connector that have a slot.", "task_type")
        waiting = _gauge("admission_waiting", "Calls that wait for a slot.", "task_type")
        limit = _gauge("admission_limit", "Slots that a connector has.", "task_type")
        paused = _gauge("paused", "1 while --paused-file pauses the task type, else 0.", "task_type")
        jobs = _gauge("shielded_jobs", "Jobs whose polls meet a fault now.", "task_type")
        age = _gauge("shielded_age_seconds", "How long the oldest of these faults has stood.", "task_type")
        busy = _gauge("threads_busy", "Threads that run a blocking method of a connector.", "task_type")
        queued = _gauge("threads_waiting", "Calls of blocking methods that wait for a thread.", "task_type")
        most = _gauge("threads_limit", "Threads that a connector may have.", "task_type")
        if self.engine is not None:
            for call, count in sorted(self.engine.in_flight.items()):
                in_flight.add_metric(list(call), count)
            faults = self.engine.standing_faults
            for task_type, line in sorted(self.engine.admission.items()):
                taken.add_metric([task_type], line.taken)
                waiting.add_metric([task_type], line.waiting)
                limit.add_metric([task_type], line.limit)
                standing = faults.get(task_type)
                jobs.add_metric([task_type], standing.jobs if standing else 0)
                age.add_metric([task_type], standing.age if standing else 0.0)
            for task_type, is_paused in sorted(self.engine.paused.items()):
                paused.add_metric([task_type], int(is_paused))
            for task_type, use in sorted(self.engine.threads.items()):
                busy.add_metric([task_type], use.busy)
                queued.add_metric([task_type], use.waiting)
                most.add_metric([task_type], use.limit)
        yield from (in_flight, taken, waiting, limit, paused, jobs, age, busy, queued, most)


class FallbackReadings(Collector):
    """Whether the fallback service is in reach."""

    def __init__(self, is_up: Callable[[], bool]) -> None:
        self._is_up = is_up

    def collect(self) -> Iterator[Metric]:
        """Its gauge."""
        text = "1 while the fallback service can be asked for its list, else 0."
        yield GaugeMetricFamily(f"{PREFIX}_fallback_up", text, value=int(self._is_up()))


class StoreReadings(Collector):
    """Whether the store is in reach."""

    def __init__(self, is_up: Callable[[], bool], outages: Callable[[], int]) -> None:
        self._is_up = is_up
        self._outages = outages

    def collect(self) -> Iterator[Metric]:
        """The store's gauge and counter."""
        up, outages = int(self._is_up()), self._outages()
        yield GaugeMetricFamily(f"{PREFIX}_store_up", "1 while the idempotency store is in reach, else 0.", value=up)
        yield CounterMetricFamily(
            f"{PREFIX}_store_outages", "How often the idempotency store went out of reach.", value=outages
        )
