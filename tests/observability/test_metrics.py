"""The metrics as Prometheus reads them: parsed from the text, not looked up in objects."""

from __future__ import annotations

import dataclasses
import platform
from typing import Any

import pytest

from connectors._engine.events import CallEvent
from connectors._observability.metrics import Metrics
from connectors._registry import LoadFailure
from tests.observability.scraping import Page

OK = CallEvent(operation="create", task_type="acme", protocol="flyte1", status="OK", seconds=0.25)


def page_of(metrics: Metrics) -> Page:
    return Page(metrics.render()[0].decode())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return page_of(metrics).value(name, labels)


def kinds(metrics: Metrics) -> dict[str, str]:
    text = metrics.render()[0].decode()
    return {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")}


def test_the_four_metrics_of_the_reference_keep_their_names_and_types() -> None:
    reference = {
        "flyte_connector_requests_success_total": "counter",
        "flyte_connector_requests_failure_total": "counter",
        "flyte_connector_request_latency_seconds": "summary",
        "flyte_connector_input_literal_bytes": "summary",
    }
    found = kinds(Metrics(version="1"))
    assert {name: found.get(name) for name in reference} == reference


def test_a_call_that_succeeded_is_counted_by_task_type_and_operation() -> None:
    metrics = Metrics(version="1")
    metrics.observe(OK)
    labels = {"task_type": "acme", "operation": "create"}
    assert value(metrics, "flyte_connector_requests_success_total", **labels) == 1
    assert value(metrics, "flyte_connector_request_latency_seconds_count", **labels) == 1
    assert value(metrics, "flyte_connector_request_latency_seconds_sum", **labels) == 0.25


def test_a_call_that_failed_is_counted_with_the_name_of_its_status() -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, status="NOT_FOUND", task_type="unknown"))
    labels = {"task_type": "unknown", "operation": "create"}
    assert value(metrics, "flyte_connector_requests_failure_total", error_code="NOT_FOUND", **labels) == 1
    assert value(metrics, "flyte_connector_requests_success_total", **labels) == 0
    assert value(metrics, "flyte_connector_request_latency_seconds_count", **labels) == 1


def test_the_size_of_inputs_is_observed_where_a_call_has_them() -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, input_bytes=100))
    metrics.observe(dataclasses.replace(OK, input_bytes=0))
    metrics.observe(dataclasses.replace(OK, operation="get"))
    assert value(metrics, "flyte_connector_input_literal_bytes_count", task_type="acme") == 2
    assert value(metrics, "flyte_connector_input_literal_bytes_sum", task_type="acme") == 100


def test_a_shielded_poll_is_a_success_and_is_counted_with_its_error() -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, operation="get", shielded=True, error="Unavailable"))
    assert value(metrics, "flyte_connector_shielded_total", task_type="acme", error="Unavailable") == 1
    assert value(metrics, "flyte_connector_requests_success_total", task_type="acme", operation="get") == 1


def test_a_deletion_that_was_put_off_is_a_success_and_is_counted_with_its_error() -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, operation="delete", shielded=True, error="Unavailable"))
    assert value(metrics, "flyte_connector_deletions_put_off_total", task_type="acme", error="Unavailable") == 1
    assert value(metrics, "flyte_connector_requests_success_total", task_type="acme", operation="delete") == 1


def test_tries_after_the_first_are_counted_once_however_many_callers_joined() -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, attempts=3))
    metrics.observe(dataclasses.replace(OK, attempts=3, repeated=True))
    metrics.observe(dataclasses.replace(OK, attempts=1))
    labels = {"task_type": "acme", "operation": "create"}
    assert value(metrics, "flyte_connector_retries_total", **labels) == 2
    assert value(metrics, "flyte_connector_repeats_total", **labels) == 1


def test_states_that_a_connector_does_not_know_are_counted_by_task_type_alone() -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, operation="get", unknown_states=("NEW", "NEWER")))
    metrics.observe(dataclasses.replace(OK, operation="get", unknown_states=("NEW",)))
    metrics.observe(dataclasses.replace(OK, operation="get"))
    assert value(metrics, "flyte_connector_unknown_states_total", task_type="acme") == 3


def test_what_was_used_is_counted_by_task_type_and_unit() -> None:
    metrics, name = Metrics(version="1"), "flyte_connector_usage_total"
    metrics.used("acme", {"input_tokens": 12, "seconds": 0.5})
    metrics.used("acme", {"input_tokens": 30})
    metrics.used("other", {"input_tokens": 1})
    assert value(metrics, name, task_type="acme", unit="input_tokens") == 42
    assert value(metrics, name, task_type="acme", unit="seconds") == 0.5
    assert value(metrics, name, task_type="other", unit="input_tokens") == 1


def test_a_connector_that_makes_up_units_makes_no_more_than_twenty_series() -> None:
    metrics, name = Metrics(version="1"), "flyte_connector_usage_total"
    for number in range(100):
        metrics.used("acme", {f"unit_{number}": 1})
    assert len(page_of(metrics).series(name)) == 21
    assert value(metrics, name, task_type="acme", unit="other") == 80


def test_callers_cannot_make_up_methods() -> None:
    metrics = Metrics(version="1")
    metrics.methods = {"/a.B/C"}
    metrics.rejected("/a.B/C", "message_too_large")
    for number in range(100):
        metrics.rejected(f"/x/{number}", "unknown_method")
    assert value(metrics, "flyte_connector_rejected_total", method="/a.B/C", reason="message_too_large") == 1
    assert value(metrics, "flyte_connector_rejected_total", method="unknown", reason="unknown_method") == 100


def test_what_could_not_be_loaded_is_shown_by_plugin_distribution_and_kind_of_failure() -> None:
    metrics, name = Metrics(version="1"), "flyte_connector_plugin_load_errors"
    failed = LoadFailure("b", "d", "z", "start")
    metrics.plugin_failures([LoadFailure("a", "d", "x", "import"), LoadFailure("a", "d", "y", "import"), failed])
    assert value(metrics, name, plugin="a", distribution="d", reason="import") == 2
    metrics.plugin_failures([failed])
    assert value(metrics, name, plugin="a", distribution="d", reason="import") is None
    assert value(metrics, name, plugin="b", distribution="d", reason="start") == 1


def test_whether_the_store_is_in_reach_is_read_when_it_is_asked_for() -> None:
    metrics, outages = Metrics(version="1"), list[str]()
    metrics.show_store(lambda: len(outages) % 2 == 0, lambda: len(outages))
    assert value(metrics, "flyte_connector_store_up") == 1
    assert value(metrics, "flyte_connector_store_outages_total") == 0
    outages.append("one")
    assert value(metrics, "flyte_connector_store_up") == 0
    assert value(metrics, "flyte_connector_store_outages_total") == 1
    found = kinds(metrics)
    assert (found["flyte_connector_store_up"], found["flyte_connector_store_outages_total"]) == ("gauge", "counter")


def test_the_build_and_the_process_are_described() -> None:
    page = page_of(Metrics(version="1.2.3"))
    assert {"process_resident_memory_bytes", "python_gc_collections_total"} <= page.families.keys()
    assert page.value("flyte_connector_build_info", version="1.2.3", python=platform.python_version()) == 1


def test_two_servers_in_one_process_do_not_share_their_metrics() -> None:
    first, second = Metrics(version="1"), Metrics(version="1")
    first.observe(OK)
    assert value(second, "flyte_connector_requests_success_total", task_type="acme", operation="create") is None


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=x", ";;q=,", "\xff"])
def test_a_header_that_is_none_gets_the_default_format(accept: str) -> None:
    _, content_type = Metrics(version="1").render(accept)
    assert content_type.startswith("text/plain")


def test_openmetrics_is_written_where_it_is_asked_for() -> None:
    metrics = Metrics(version="1")
    metrics.observe(OK)
    text, content_type = metrics.render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert "flyte_connector_requests_success_total{" in text.decode()


def test_a_retry_that_the_budget_denied_is_counted_once_however_many_callers_joined() -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, status="UNAVAILABLE", attempts=1, retry_denied=True))
    metrics.observe(dataclasses.replace(OK, status="UNAVAILABLE", attempts=1, retry_denied=True, repeated=True))
    metrics.observe(dataclasses.replace(OK, operation="get", shielded=True, attempts=1, retry_denied=True))
    metrics.observe(dataclasses.replace(OK, status="UNAVAILABLE", attempts=4))
    assert value(metrics, "flyte_connector_retries_denied_total", task_type="acme") == 2


def test_a_call_that_got_no_slot_is_counted_once_however_many_callers_joined() -> None:
    metrics = Metrics(version="1")
    poll = dataclasses.replace(OK, operation="get", shielded=True, error="AdmissionRefused")
    metrics.observe(poll)
    metrics.observe(dataclasses.replace(poll, repeated=True))
    metrics.observe(dataclasses.replace(OK, status="RESOURCE_EXHAUSTED", error="AdmissionRefused"))
    metrics.observe(dataclasses.replace(OK, status="RESOURCE_EXHAUSTED", error="RateLimited"))
    name = "flyte_connector_admission_refused_total"
    assert value(metrics, name, task_type="acme", operation="get") == 1
    assert value(metrics, name, task_type="acme", operation="create") == 1


@pytest.mark.parametrize(
    ("operation", "kind", "fate"),
    [
        ("reap_lost", "lost", "cancelled"),
        ("reap_idle", "idle", "cancelled"),
        ("report_idle", "idle", "reported"),
        ("report_unknown", "unknown", "reported"),
    ],
)
def test_what_nobody_asks_for_any_more_is_counted_by_what_became_of_it(operation: str, kind: str, fate: str) -> None:
    metrics = Metrics(version="1")
    metrics.observe(dataclasses.replace(OK, operation=operation))
    assert value(metrics, "flyte_connector_orphans_total", task_type="acme", kind=kind, fate=fate) == 1
    assert len(page_of(metrics).series("flyte_connector_orphans_total")) == 1


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ({"joined": True}, "waited"),
        ({"error": "KeyUsed", "status": "ALREADY_EXISTS"}, "conflict"),
        ({"mismatch": True}, "mismatch"),
    ],
)
def test_what_a_call_tells_of_its_key_is_counted(told: dict[str, Any], outcome: str) -> None:
    metrics, name = Metrics(version="1"), "flyte_connector_idempotency_total"
    metrics.observe(dataclasses.replace(OK, **told))
    metrics.observe(dataclasses.replace(OK, operation="get", **told))
    assert page_of(metrics).series(name) == [{"task_type": "acme", "outcome": outcome}]
    assert value(metrics, name, task_type="acme", outcome=outcome) == 1


def test_error_classes_that_a_plugin_makes_up_make_no_more_than_fifty_series() -> None:
    metrics, name = Metrics(version="1"), "flyte_connector_shielded_total"
    for number in range(100):
        metrics.observe(dataclasses.replace(OK, operation="get", shielded=True, error=f"Error{number}"))
    assert len(page_of(metrics).series(name)) == 51
    assert value(metrics, name, task_type="acme", error="other") == 50


def test_changes_of_the_certificate_are_counted_by_what_came_of_them() -> None:
    metrics = Metrics(version="1")
    for is_in_use in (True, False, True):
        metrics.tls_reloaded(is_in_use)
    assert value(metrics, "flyte_connector_tls_reloads_total", outcome="ok") == 2
    assert value(metrics, "flyte_connector_tls_reloads_total", outcome="failed") == 1


def test_a_store_that_was_not_asked_has_an_error_and_took_no_time() -> None:
    metrics = Metrics(version="1")
    metrics.store("reserve", None, "refused")
    metrics.store("reserve", 0.003, "unavailable")
    metrics.store("reserve", 0.003, None)
    assert value(metrics, "flyte_connector_store_errors_total", operation="reserve", error="refused") == 1
    assert value(metrics, "flyte_connector_store_errors_total", operation="reserve", error="unavailable") == 1
    assert value(metrics, "flyte_connector_store_duration_seconds_count", operation="reserve") == 2
