"""A Databricks run as a Flyte resource: every state, every kind of end.

https://docs.databricks.com/api/workspace/jobs/getrun. ``state`` is what version 2.0 of the API had, and is still
answered; ``status`` is newer, and says why a run waits or ended. A repair of a run starts it anew under its id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from connectors import Phase
from connectors_databricks._rest import part

__all__ = ["LIFE_CYCLE", "RESULTS", "RunState", "created", "facts", "tasks_of"]

LIFE_CYCLE: Final[Mapping[str, Phase]] = {
    "QUEUED": Phase.QUEUED,
    "PENDING": Phase.INITIALIZING,
    "BLOCKED": Phase.WAITING_FOR_RESOURCES,
    "WAITING": Phase.RUNNING,
    "WAITING_FOR_RETRY": Phase.RUNNING,  # a try of it is over already
    "RUNNING": Phase.RUNNING,
    "TERMINATING": Phase.RUNNING,
    "TERMINATED": Phase.SUCCEEDED,  # or a failure: the result decides
    "SKIPPED": Phase.FAILED,
    "INTERNAL_ERROR": Phase.FAILED,
}
"""``life_cycle_state``, and ``status.state``. Which of the failures may be run again is the operator's to say."""

RESULTS: Final[Mapping[str, Phase]] = {
    "SUCCESS": Phase.SUCCEEDED,
    "SUCCESS_WITH_FAILURES": Phase.SUCCEEDED,  # the run's last tasks succeeded, whatever became of earlier ones
    "FAILED": Phase.FAILED,
    "TIMEDOUT": Phase.FAILED,
    "CANCELED": Phase.FAILED,  # of ABORTED the backend would not show the message
    "EXCLUDED": Phase.FAILED,
    "UPSTREAM_FAILED": Phase.FAILED,
    "UPSTREAM_CANCELED": Phase.FAILED,
    "DISABLED": Phase.FAILED,
    "MAXIMUM_CONCURRENT_RUNS_REACHED": Phase.FAILED,
}
"""``result_state``."""

_BY_TYPE: Final[Mapping[str, Phase]] = {
    "SUCCESS": Phase.SUCCEEDED,
    "CLIENT_ERROR": Phase.FAILED,
    "INTERNAL_ERROR": Phase.RETRYABLE_FAILED,
    "CLOUD_FAILURE": Phase.RETRYABLE_FAILED,
}
"""``status.termination_details.type``, for a result that is not known or not there."""
_MOST_TASKS = 20


@dataclass(frozen=True)
class RunState:
    """What a run's state means."""

    phase: Phase
    message: str
    """Databricks' own words, or the state's."""
    unknown: str = ""
    """A state that is not known here, and was taken for RUNNING."""

    @classmethod
    def of(cls, run: Mapping[str, Any], retryable: Collection[str]) -> RunState | None:
        """The state of a run as ``runs/get`` answers it; None where that is no run.

        :param retryable: result states, life cycle states and termination codes of failures that may be run again.
        """
        latest = _latest(run)
        state, status = part(latest, "state"), part(latest, "status")
        details = part(status, "termination_details")
        life_cycle = _word(state.get("life_cycle_state") or status.get("state"))
        result = _word(state.get("result_state"))
        code, kind = _word(details.get("code")), _word(details.get("type"))
        if not life_cycle:
            return None
        message = _message(state, status) or (result or life_cycle)
        phase = LIFE_CYCLE.get(life_cycle)
        if phase is None:
            return cls(Phase.RUNNING, message, unknown=life_cycle)
        if life_cycle == "TERMINATED":
            phase = RESULTS.get(result) or RESULTS.get(code) or _BY_TYPE.get(kind)
            if phase is None:
                return cls(Phase.RUNNING, message, unknown=f"TERMINATED/{result or code or 'no result'}")
        if phase is Phase.FAILED and not {life_cycle, result, code}.isdisjoint(retryable):
            phase = Phase.RETRYABLE_FAILED
        return cls(phase, message)


def _latest(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run, or its repair that is under way: a run that ended is shown as such until the repair has begun."""
    history = run.get("repair_history")
    last = history[-1] if isinstance(history, list) and history else None
    if isinstance(last, Mapping) and last.get("type") == "REPAIR":
        life_cycle = part(last, "state").get("life_cycle_state") or part(last, "status").get("state")
        phase = LIFE_CYCLE.get(str(life_cycle))
        if phase is not None and not phase.is_terminal:
            return last
    return run


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _message(state: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Why it is as it is."""
    said = (
        state.get("state_message"),
        part(status, "termination_details").get("message"),
        state.get("queue_reason"),
        part(status, "queue_details").get("message"),
    )
    return next((text for text in said if isinstance(text, str) and text), "")


def created(run: Mapping[str, Any]) -> datetime | None:
    """When Databricks took the run on, by its own clock; None where the run does not say."""
    return _instant(run.get("start_time"))


def tasks_of(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The run's tasks, the latest try of each; where it shows none, itself."""
    tasks = run.get("tasks")
    found = [task for task in tasks if isinstance(task, Mapping)] if isinstance(tasks, list) else []
    latest: dict[str, Mapping[str, Any]] = {}
    for task in found:
        key = str(task.get("task_key"))
        if key not in latest or _whole(task.get("attempt_number")) >= _whole(latest[key].get("attempt_number")):
            latest[key] = task
    return list(latest.values()) or [run]


def facts(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a person asks about a run: where it ran, how long, and what became of its tasks."""
    state, status = part(run, "state"), part(run, "status")
    details = part(status, "termination_details")
    history = run.get("repair_history")
    tasks = [_task_facts(task) for task in tasks_of(run) if task is not run]
    values = {
        "run_id": _text_of(run.get("run_id")),
        "job_id": _text_of(run.get("job_id")),
        "run_name": run.get("run_name"),
        "run_page_url": run.get("run_page_url"),
        "creator": run.get("creator_user_name"),
        "life_cycle_state": state.get("life_cycle_state") or status.get("state"),
        "result_state": state.get("result_state"),
        "state_message": state.get("state_message") or None,
        "termination_code": details.get("code"),
        "termination_type": details.get("type"),
        "queue_reason": state.get("queue_reason") or part(status, "queue_details").get("message"),
        **_cluster(run),
        **_timing(run),
        "attempt_number": run.get("attempt_number"),
        "repairs": len(history) - 1 if isinstance(history, list) and len(history) > 1 else None,
        "tasks": tasks[:_MOST_TASKS] or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _task_facts(task: Mapping[str, Any]) -> dict[str, Any]:
    state = part(task, "state")
    values = {
        "task_key": task.get("task_key"),
        "run_id": _text_of(task.get("run_id")),
        "run_page_url": task.get("run_page_url"),
        "life_cycle_state": state.get("life_cycle_state") or part(task, "status").get("state"),
        "result_state": state.get("result_state"),
        "state_message": state.get("state_message") or None,
        **_cluster(task),
        **_timing(task),
    }
    return {name: value for name, value in values.items() if value is not None}


def _cluster(run: Mapping[str, Any]) -> dict[str, Any]:
    instance = part(run, "cluster_instance")
    return {
        "cluster_id": instance.get("cluster_id") or run.get("existing_cluster_id"),
        "spark_context_id": instance.get("spark_context_id"),
    }


def _timing(run: Mapping[str, Any]) -> dict[str, Any]:
    """Instants as RFC 3339, durations in milliseconds; Databricks writes 0 for what has not come yet."""
    durations = ("queue_duration", "setup_duration", "execution_duration", "cleanup_duration", "run_duration")
    return {
        "started": _written(_instant(run.get("start_time"))),
        "ended": _written(_instant(run.get("end_time"))),
        **{f"{name}_ms": run.get(name) or None for name in durations},
    }


def _text_of(number: Any) -> str | None:
    """A number as text: custom_info travels as doubles, which do not hold every id."""
    return None if number is None else str(number)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _instant(value: Any) -> datetime | None:
    """Milliseconds since 1970; 0 is none."""
    if not isinstance(value, int) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="milliseconds")
