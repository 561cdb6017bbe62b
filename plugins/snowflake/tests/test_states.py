"""What a statement's state means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors import Phase, StructuredDataset, TaskLog
from connectors.testing.contexts import NewContext
from connectors_snowflake._history import PastStatement
from connectors_snowflake._rest import Answer
from connectors_snowflake._states import KNOWN_STATUSES, of_answer, of_past

pytestmark = pytest.mark.anyio
LINK = TaskLog("https://app.snowflake.example", "Snowflake Query Details")
LOCATION = "snowflake://u:a/w/d/s/01b2"
DONE = {"code": "090001", "message": "Statement executed successfully.", "statementHandle": "01b2"}


@pytest.mark.parametrize(
    ("status", "body", "phase"),
    [
        (202, {"code": "333333"}, Phase.RUNNING),
        (202, {"code": "333334"}, Phase.RUNNING),
        (200, DONE, Phase.SUCCEEDED),
        (408, {"code": "000630"}, Phase.FAILED),
        (422, {"code": "000604", "sqlState": "57014"}, Phase.FAILED),
        (422, {"code": "002003", "sqlState": "42S02"}, Phase.FAILED),
        (422, {"code": "000603", "sqlState": "57014"}, Phase.RETRYABLE_FAILED),
        (422, {"code": "000625", "sqlState": "57014"}, Phase.RETRYABLE_FAILED),
        (422, {"code": "300002", "sqlState": "XX000"}, Phase.RETRYABLE_FAILED),
    ],
)
async def test_an_answer_has_its_phase(
    new_context: NewContext, status: int, body: dict[str, Any], phase: Phase
) -> None:
    ctx = new_context()
    assert of_answer(Answer(status, body), None, LINK, ctx).phase is phase
    assert ctx.unknown_states == set()


async def test_a_failure_is_told_in_snowflakes_words(new_context: NewContext) -> None:
    body = {"code": "002003", "sqlState": "42S02", "message": "Object 'T' does not exist."}
    result = of_answer(Answer(422, body), LOCATION, LINK, new_context())
    assert result.message == "Object 'T' does not exist. (code 002003, SQL state 42S02)"
    assert result.custom_info == {"state": "FAILED_WITH_ERROR", "code": "002003", "sql_state": "42S02"}
    assert (result.outputs, result.log_links) == (None, (LINK,))


async def test_a_results_address_is_the_output(new_context: NewContext) -> None:
    result = of_answer(Answer(200, DONE), LOCATION, LINK, new_context())
    assert result.outputs == {"results": StructuredDataset(uri=LOCATION)}


async def test_of_several_statements_the_last_ones_result_is_the_output(new_context: NewContext) -> None:
    result = of_answer(Answer(200, {**DONE, "statementHandles": ["01b3", "01b4"]}), LOCATION, LINK, new_context())
    assert result.outputs == {"results": StructuredDataset(uri="snowflake://u:a/w/d/s/01b4")}
    assert result.custom_info is not None
    assert result.custom_info["statements"] == 2


async def test_a_task_that_declares_no_output_has_none(new_context: NewContext) -> None:
    assert of_answer(Answer(200, DONE), None, LINK, new_context()).outputs == {}


async def test_rows_and_statistics_are_told(new_context: NewContext) -> None:
    body = {**DONE, "resultSetMetaData": {"numRows": 3}, "stats": {"numRowsInserted": 2}}
    assert of_answer(Answer(200, body), None, LINK, new_context()).custom_info == {
        "state": "SUCCESS",
        "code": "090001",
        "query_id": "01b2",
        "rows": 3,
        "statistics": {"numRowsInserted": 2},
    }


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("NO_DATA", Phase.RUNNING),
        ("QUEUED", Phase.QUEUED),
        ("RESUMING_WAREHOUSE", Phase.WAITING_FOR_RESOURCES),
        ("QUEUED_REPARING_WAREHOUSE", Phase.WAITING_FOR_RESOURCES),
        ("BLOCKED", Phase.WAITING_FOR_RESOURCES),
        ("RUNNING", Phase.RUNNING),
        ("RESTARTED", Phase.RUNNING),
        ("ABORTING", Phase.RUNNING),
        ("SUCCESS", Phase.SUCCEEDED),
        ("ABORTED", Phase.FAILED),
        ("DISCONNECTED", Phase.FAILED),
        ("FAIL", Phase.FAILED),
        ("FAILED_WITH_ERROR", Phase.FAILED),
        ("INCIDENT", Phase.RETRYABLE_FAILED),
        ("FAILED_WITH_INCIDENT", Phase.RETRYABLE_FAILED),
    ],
)
async def test_a_status_of_the_history_has_its_phase(new_context: NewContext, status: str, phase: Phase) -> None:
    ctx = new_context()
    assert of_past(PastStatement("01b2", status), None, LINK, ctx).phase is phase
    assert ctx.unknown_states == set()


async def test_every_status_of_the_table_is_tested() -> None:
    assert len(KNOWN_STATUSES) == 15


async def test_an_unknown_status_is_running_and_told(new_context: NewContext) -> None:
    ctx = new_context()
    assert of_past(PastStatement("01b2", "DREAMING"), None, LINK, ctx).phase is Phase.RUNNING
    assert ctx.unknown_states == {"DREAMING"}


async def test_what_the_history_tells_is_shown(new_context: NewContext) -> None:
    past = PastStatement(
        "01b2",
        "FAILED_WITH_ERROR",
        started=datetime(2024, 1, 2, tzinfo=UTC),
        ended=datetime(2024, 1, 2, 0, 1, tzinfo=UTC),
        error_code="2003",
        error_message="Object 'T' does not exist.",
        rows="0",
    )
    result = of_past(past, LOCATION, LINK, new_context())
    assert (result.phase, result.message) == (Phase.FAILED, "Object 'T' does not exist. (code 2003)")
    assert result.custom_info == {
        "state": "FAILED_WITH_ERROR",
        "query_id": "01b2",
        "code": "2003",
        "rows": "0",
        "started": "2024-01-02T00:00:00.000+00:00",
        "ended": "2024-01-02T00:01:00.000+00:00",
    }


async def test_a_lock_that_was_waited_for_too_long_is_retryable_by_the_history_too(new_context: NewContext) -> None:
    past = PastStatement("01b2", "FAILED_WITH_ERROR", error_code="625", error_message="locked")
    assert of_past(past, None, LINK, new_context()).phase is Phase.RETRYABLE_FAILED


async def test_a_success_of_the_history_has_its_output(new_context: NewContext) -> None:
    result = of_past(PastStatement("01b2", "SUCCESS"), LOCATION, LINK, new_context())
    assert result.outputs == {"results": StructuredDataset(uri=LOCATION)}
