"""The server's own count of what it was asked, scraped as Prometheus would."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from demo.failures import DemoError

__all__ = ["Requests", "scrape"]

_TIMEOUT = 10.0  # seconds
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Requests:
    """The calls of one operation of one task type."""

    task_type: str
    operation: str
    succeeded: int
    failed: int
    repeated: int
    """Answered with an earlier call's result; they are among those that succeeded."""
    mean_ms: float
    """Milliseconds from a call's arrival to its answer."""


def scrape(url: str) -> tuple[Requests, ...]:
    """The calls so far, by task type and operation.

    :param url: of the server's ``/metrics``.
    :raises DemoError: it does not answer.
    """
    try:
        with _opener.open(url, timeout=_TIMEOUT) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise DemoError(f"the server's metrics cannot be read from {url}: {error}") from error
    values: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("flyte_connector_re") and "operation" in sample.labels:
                call = (sample.labels["task_type"], sample.labels["operation"])
                values[call][sample.name.removeprefix("flyte_connector_")] += sample.value
    return tuple(
        Requests(
            task_type=task_type,
            operation=operation,
            succeeded=int(own["requests_success_total"]),
            failed=int(own["requests_failure_total"]),
            repeated=int(own["repeats_total"]),
            mean_ms=1000 * own["request_latency_seconds_sum"] / max(1.0, own["request_latency_seconds_count"]),
        )
        for (task_type, operation), own in sorted(values.items())
    )
