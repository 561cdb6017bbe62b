from __future__ import annotations

from typing import Any

import pytest

from connectors import Phase, StructuredDataset, TaskLog
from connectors_bigquery._states import console_link, resource

LINK = TaskLog("https://example.com", "BigQuery Console")
TABLE = {"projectId": "p", "datasetId": "d", "tableId": "t"}


def job(state: str = "DONE", **parts: Any) -> dict[str, Any]:
    return {
        "status": {"state": state, **parts.pop("status", {})},
        "configuration": {"query": {"destinationTable": TABLE}},
        **parts,
    }


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("PENDING", Phase.INITIALIZING),
        ("RUNNING", Phase.RUNNING),
        ("DONE", Phase.SUCCEEDED),
        ("PAUSED_BY_MARTIANS", Phase.RUNNING),
        ("", Phase.RUNNING),
    ],
)
def test_every_state_is_a_phase(state: str, phase: Phase) -> None:
    assert resource(job(state), LINK).phase is phase


@pytest.mark.parametrize("malformed", [{}, {"status": None}, {"status": {"state": 5}}, {"status": []}])
def test_a_job_without_a_state_is_running(malformed: dict[str, Any]) -> None:
    assert resource(malformed, LINK).phase is Phase.RUNNING


@pytest.mark.parametrize("reason", ["invalidQuery", "stopped", "accessDenied", "notFound", "", "somethingNew"])
def test_an_error_result_is_a_failure_in_bigquerys_words(reason: str) -> None:
    failed = job(status={"errorResult": {"reason": reason, "message": "no such thing", "location": "query"}})
    result = resource(failed, LINK)
    assert result.phase is Phase.FAILED
    assert result.message == f"no such thing (reason: {reason or 'not given'}) at query"
    assert result.outputs is None


def test_a_reason_that_is_no_word_is_a_failure_all_the_same() -> None:
    assert resource(job(status={"errorResult": {"reason": {"a": 1}}}), LINK).phase is Phase.FAILED


@pytest.mark.parametrize(
    "reason",
    [
        "backendError",
        "internalError",
        "rateLimitExceeded",
        "quotaExceeded",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
    ],
)
def test_a_passing_reason_is_a_retryable_failure(reason: str) -> None:
    assert resource(job(status={"errorResult": {"reason": reason}}), LINK).phase is Phase.RETRYABLE_FAILED


def test_errors_without_an_error_result_are_warnings() -> None:
    result = resource(job(status={"errors": [{"reason": "invalid", "message": "slow join"}]}), LINK)
    assert result.phase is Phase.SUCCEEDED
    assert result.custom_info is not None
    assert result.custom_info["warnings"] == ["slow join (reason: invalid)"]


def test_the_errors_of_a_failed_job_are_no_warnings() -> None:
    error = {"reason": "invalid", "message": "division by zero"}
    result = resource(job(status={"errorResult": error, "errors": [error]}), LINK)
    assert result.custom_info == {"state": "DONE", "error_reason": "invalid"}


def test_the_output_is_the_table_that_the_job_wrote() -> None:
    assert resource(job(), LINK).outputs == {"results": StructuredDataset(uri="bq://p:d.t")}


def test_a_job_that_wrote_no_table_has_no_outputs() -> None:
    assert resource({"status": {"state": "DONE"}}, LINK).outputs == {}


def test_a_running_job_has_no_outputs_yet() -> None:
    assert resource(job("RUNNING"), LINK).outputs is None


def test_what_the_job_cost_is_told_in_numbers() -> None:
    statistics = {
        "creationTime": "1700000000000",
        "startTime": "1700000000500",
        "endTime": "1700000002000",
        "query": {
            "statementType": "SELECT",
            "totalBytesProcessed": "10",
            "totalBytesBilled": "20",
            "totalSlotMs": "30",
            "cacheHit": False,
        },
    }
    assert resource(job(statistics=statistics), LINK).custom_info == {
        "state": "DONE",
        "statement_type": "SELECT",
        "bytes_processed": 10,
        "bytes_billed": 20,
        "slot_ms": 30,
        "cache_hit": False,
        "created": "2023-11-14T22:13:20.000+00:00",
        "started": "2023-11-14T22:13:20.500+00:00",
        "ended": "2023-11-14T22:13:22.000+00:00",
    }


def test_a_number_that_a_double_cannot_hold_stays_text() -> None:
    result = resource(job(statistics={"totalBytesProcessed": str(2**53 + 1)}), LINK)
    assert result.custom_info is not None
    assert result.custom_info["bytes_processed"] == "9007199254740993"


def test_facts_that_are_none_are_left_out() -> None:
    strange: dict[str, Any] = {
        "startTime": "soon",
        "endTime": "9" * 30,
        "totalSlotMs": None,
        "query": {"totalBytesBilled": {}},
    }
    assert resource(job(statistics=strange), LINK).custom_info == {"state": "DONE"}


def test_the_link_is_the_consoles() -> None:
    assert console_link("p", "EU", "j") == TaskLog(
        uri="https://console.cloud.google.com/bigquery?project=p&j=bq:EU:j&page=queryresults", name="BigQuery Console"
    )
