"""What a run's state means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors import Phase
from connectors_databricks import DatabricksSettings
from connectors_databricks._states import LIFE_CYCLE, RESULTS, RunState, created, facts, tasks_of

RETRYABLE = DatabricksSettings().retryable


def state_of(run: dict[str, Any], retryable: tuple[str, ...] = RETRYABLE) -> RunState:
    state = RunState.of(run, retryable)
    assert state is not None
    return state


def ended(result: str | None, **more: Any) -> dict[str, Any]:
    return {"state": {"life_cycle_state": "TERMINATED", "result_state": result}, **more}


def test_every_state_that_the_sdk_knows_is_in_a_table() -> None:
    from databricks.sdk.service.jobs import RunLifeCycleState, RunLifecycleStateV2State, RunResultState

    assert {state.value for kind in (RunLifeCycleState, RunLifecycleStateV2State) for state in kind} == set(LIFE_CYCLE)
    assert {state.value for state in RunResultState} == set(RESULTS)


@pytest.mark.parametrize(
    ("life_cycle", "phase"),
    [
        ("QUEUED", Phase.QUEUED),
        ("PENDING", Phase.INITIALIZING),
        ("BLOCKED", Phase.WAITING_FOR_RESOURCES),
        ("WAITING_FOR_RETRY", Phase.RUNNING),
        ("RUNNING", Phase.RUNNING),
        ("TERMINATING", Phase.RUNNING),
        ("SKIPPED", Phase.FAILED),
        ("INTERNAL_ERROR", Phase.RETRYABLE_FAILED),
    ],
)
def test_a_life_cycle_state_is_a_phase(life_cycle: str, phase: Phase) -> None:
    assert state_of({"state": {"life_cycle_state": life_cycle}}).phase is phase


@pytest.mark.parametrize(
    ("result", "phase"),
    [
        ("SUCCESS", Phase.SUCCEEDED),
        ("SUCCESS_WITH_FAILURES", Phase.SUCCEEDED),
        ("FAILED", Phase.FAILED),
        ("TIMEDOUT", Phase.FAILED),
        ("CANCELED", Phase.FAILED),
        ("UPSTREAM_FAILED", Phase.FAILED),
        ("MAXIMUM_CONCURRENT_RUNS_REACHED", Phase.RETRYABLE_FAILED),
    ],
)
def test_the_end_of_a_run_is_its_result(result: str, phase: Phase) -> None:
    assert state_of(ended(result)).phase is phase


@pytest.mark.parametrize(
    "run",
    [
        {"state": {"life_cycle_state": "HIBERNATING"}},
        {"status": {"state": "HIBERNATING"}},
        ended("HALF_DONE"),
        ended(None),
        {"status": {"state": "TERMINATED", "termination_details": {"code": "NEW", "type": "NEW"}}},
    ],
)
def test_a_state_that_is_not_known_is_running_and_told(run: dict[str, Any]) -> None:
    state = state_of(run)
    assert state.phase is Phase.RUNNING
    assert state.unknown


def test_a_known_state_is_not_told() -> None:
    assert state_of(ended("SUCCESS")).unknown == ""


@pytest.mark.parametrize("run", [{}, {"state": None}, {"state": {"life_cycle_state": 3}}, {"unexpected": {}}])
def test_what_has_no_state_is_no_run(run: dict[str, Any]) -> None:
    assert RunState.of(run, RETRYABLE) is None


# --- the newer form


def test_the_newer_status_is_read_where_the_older_state_is_gone() -> None:
    details = {"code": "SUCCESS", "type": "SUCCESS", "message": ""}
    assert state_of({"status": {"state": "TERMINATED", "termination_details": details}}).phase is Phase.SUCCEEDED
    assert state_of({"status": {"state": "QUEUED"}}).phase is Phase.QUEUED


def test_an_end_that_is_not_known_is_told_by_its_type() -> None:
    def phase(code: str, kind: str) -> Phase:
        details = {"code": code, "type": kind}
        return state_of({"status": {"state": "TERMINATED", "termination_details": details}}).phase

    assert phase("RUN_EXECUTION_ERROR", "CLIENT_ERROR") is Phase.FAILED
    assert phase("SOMETHING_NEW", "CLOUD_FAILURE") is Phase.RETRYABLE_FAILED
    assert phase("SOMETHING_NEW", "INTERNAL_ERROR") is Phase.RETRYABLE_FAILED


def test_a_failure_of_the_clouds_may_be_run_again() -> None:
    status = {"state": "TERMINATED", "termination_details": {"code": "CLOUD_FAILURE", "type": "CLOUD_FAILURE"}}
    assert state_of(ended("FAILED", status=status)).phase is Phase.RETRYABLE_FAILED


def test_which_ends_may_be_run_again_is_a_setting() -> None:
    assert state_of(ended("TIMEDOUT"), ("TIMEDOUT",)).phase is Phase.RETRYABLE_FAILED
    assert state_of({"state": {"life_cycle_state": "INTERNAL_ERROR"}}, ()).phase is Phase.FAILED
    assert state_of(ended("SUCCESS"), ("TERMINATED",)).phase is Phase.SUCCEEDED


# --- repairs and tries


def test_a_run_that_is_being_repaired_is_not_over() -> None:
    original = {"type": "ORIGINAL", "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}}
    repair = {"type": "REPAIR", "state": {"life_cycle_state": "PENDING"}}
    assert state_of(ended("FAILED", repair_history=[original, repair])).phase is Phase.INITIALIZING


def test_a_repair_that_is_over_leaves_the_runs_own_state() -> None:
    repair = {"type": "REPAIR", "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}}
    assert state_of(ended("SUCCESS", repair_history=[{}, repair])).phase is Phase.SUCCEEDED


def test_the_latest_try_of_a_task_counts() -> None:
    run = {
        "tasks": [
            {"task_key": "a", "run_id": 2, "attempt_number": 1},
            {"task_key": "a", "run_id": 1, "attempt_number": 0},
            {"task_key": "b", "run_id": 3},
        ]
    }
    assert [task["run_id"] for task in tasks_of(run)] == [2, 3]


# --- messages and facts


def test_a_task_whose_key_is_no_word_is_shown_all_the_same() -> None:
    assert len(tasks_of({"tasks": [{"task_key": {}}, {"task_key": []}]})) == 2


def test_the_message_is_databricks_own() -> None:
    assert state_of({"state": {"life_cycle_state": "PENDING", "state_message": "Waiting for cluster"}}).message == (
        "Waiting for cluster"
    )
    queued = {"state": "QUEUED", "queue_details": {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": "Queued: full"}}
    assert state_of({"status": queued}).message == "Queued: full"
    assert state_of(ended("SUCCESS")).message == "SUCCESS"


def test_the_facts_have_the_cluster_the_timing_and_the_tasks() -> None:
    run = {
        "run_id": 2**60,
        "job_id": 77,
        "run_name": "daily",
        "run_page_url": "https://h/#job/77/run/1",
        "creator_user_name": "a@example.com",
        "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""},
        "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS", "type": "SUCCESS"}},
        "cluster_instance": {"cluster_id": "0101-abc", "spark_context_id": "42"},
        "start_time": 1_700_000_000_123,
        "end_time": 1_700_000_100_000,
        "setup_duration": 40_000,
        "execution_duration": 0,
        "attempt_number": 0,
        "repair_history": [{"type": "ORIGINAL"}, {"type": "REPAIR"}],
        "tasks": [{"task_key": "flyte_task", "run_id": 5, "existing_cluster_id": "c", "state": {"result_state": "X"}}],
    }
    assert facts(run) == {
        "run_id": "1152921504606846976",
        "job_id": "77",
        "run_name": "daily",
        "run_page_url": "https://h/#job/77/run/1",
        "creator": "a@example.com",
        "life_cycle_state": "TERMINATED",
        "result_state": "SUCCESS",
        "termination_code": "SUCCESS",
        "termination_type": "SUCCESS",
        "cluster_id": "0101-abc",
        "spark_context_id": "42",
        "started": "2023-11-14T22:13:20.123+00:00",
        "ended": "2023-11-14T22:15:00.000+00:00",
        "setup_duration_ms": 40_000,
        "attempt_number": 0,
        "repairs": 1,
        "tasks": [{"task_key": "flyte_task", "run_id": "5", "result_state": "X", "cluster_id": "c"}],
    }


def test_a_run_is_as_old_as_its_start() -> None:
    assert created({"start_time": 1_700_000_000_000}) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    for none in ({}, {"start_time": 0}, {"start_time": "x"}, {"start_time": 10**30}):
        assert created(none) is None
