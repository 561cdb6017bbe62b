"""A BigQuery job as a Flyte resource: every state, every kind of end.

https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobStatus: ``state`` is PENDING, RUNNING or DONE. Only
``errorResult`` says that a job failed; ``errors`` also holds the warnings of jobs that succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connectors import Phase, Resource, StructuredDataset, TaskLog
from connectors_bigquery._rest import RETRYABLE_REASONS, part

__all__ = ["KNOWN_STATES", "console_link", "created", "resource"]

KNOWN_STATES: Mapping[str, Phase] = {
    "PENDING": Phase.INITIALIZING,
    "RUNNING": Phase.RUNNING,
    "DONE": Phase.SUCCEEDED,  # or a failure: errorResult decides
}
_EXACT_IN_A_DOUBLE = 2**53  # custom_info travels as doubles
_MOST_WARNINGS = 10


def console_link(project: str, location: str, job_id: str) -> TaskLog:
    """The job's page in Google's console."""
    address = f"https://console.cloud.google.com/bigquery?project={project}&j=bq:{location}:{job_id}&page=queryresults"
    return TaskLog(uri=address, name="BigQuery Console")


def created(job: Mapping[str, Any]) -> datetime | None:
    """When BigQuery made the job, by its own clock; None where the job does not say."""
    return _instant(part(job, "statistics").get("creationTime"))


def resource(job: Mapping[str, Any], link: TaskLog) -> Resource:
    """What a job's state means. A state that is not in :data:`KNOWN_STATES` is RUNNING."""
    status = part(job, "status")
    phase = KNOWN_STATES.get(str(status.get("state")), Phase.RUNNING)
    message = str(status.get("state", ""))
    outputs: dict[str, Any] | None = None
    if phase is Phase.SUCCEEDED:
        failure = part(status, "errorResult")
        if failure:
            # A cancelled job (reason "stopped") is FAILED too: of ABORTED the backend would not show BigQuery's
            # message.
            phase = Phase.RETRYABLE_FAILED if str(failure.get("reason")) in RETRYABLE_REASONS else Phase.FAILED
            message = _sentence(failure)
        else:
            outputs = _outputs(job)
    return Resource(phase=phase, message=message, log_links=(link,), outputs=outputs, custom_info=_facts(job))


def _sentence(error: Mapping[str, Any]) -> str:
    text = f"{error.get('message') or 'no message'} (reason: {error.get('reason') or 'not given'})"
    where = error.get("location")
    return f"{text} at {where}" if where else text


def _outputs(job: Mapping[str, Any]) -> dict[str, Any]:
    """The table that the job wrote: the statement's target, or the anonymous table of a SELECT. A script has none of
    its own.
    """
    table = part(part(part(job, "configuration"), "query"), "destinationTable")
    if not table:
        return {}
    address = f"bq://{table.get('projectId')}:{table.get('datasetId')}.{table.get('tableId')}"
    return {"results": StructuredDataset(uri=address)}


def _facts(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a person asks about a job: what it read, what it cost, when it ran, what it warned of."""
    statistics = part(job, "statistics")
    query = part(statistics, "query")
    failure = part(part(job, "status"), "errorResult")
    warnings = [_sentence(error) for error in _errors(job) if not failure]
    facts = {
        "state": part(job, "status").get("state"),
        "statement_type": query.get("statementType"),
        "bytes_processed": _whole(query.get("totalBytesProcessed", statistics.get("totalBytesProcessed"))),
        "bytes_billed": _whole(query.get("totalBytesBilled")),
        "slot_ms": _whole(query.get("totalSlotMs", statistics.get("totalSlotMs"))),
        "cache_hit": query.get("cacheHit"),
        "created": _written(created(job)),
        "started": _written(_instant(statistics.get("startTime"))),
        "ended": _written(_instant(statistics.get("endTime"))),
        "error_reason": failure.get("reason"),
        "warnings": warnings[:_MOST_WARNINGS] or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _errors(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    errors = part(job, "status").get("errors")
    return [error for error in errors if isinstance(error, Mapping)] if isinstance(errors, list) else []


def _whole(value: Any) -> int | str | None:
    """An int64, which REST sends as text; as text still where a double could not hold it."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) <= _EXACT_IN_A_DOUBLE else str(number)


def _instant(value: Any) -> datetime | None:
    """Milliseconds since 1970, as REST sends them."""
    try:
        return datetime.fromtimestamp(int(value) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _written(instant: datetime | None) -> str | None:
    """As RFC 3339."""
    return None if instant is None else instant.isoformat(timespec="milliseconds")
