"""A Snowflake statement as a Flyte resource: every state, every kind of end.

The SQL API tells a statement's state by its HTTP status: 202 while it runs or waits, 200 once it succeeded, 408 where
its time ran out, 422 where it failed (https://docs.snowflake.com/en/developer-guide/sql-api/reference). The query
history has words for them (https://docs.snowflake.com/en/sql-reference/functions/query_history, EXECUTION_STATUS), and
so have the drivers, with a few more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import Context, Phase, Resource, StructuredDataset, TaskLog
from connectors_snowflake._history import PastStatement
from connectors_snowflake._rest import Answer

__all__ = ["KNOWN_STATUSES", "RUNNING_CODES", "of_answer", "of_past"]

RUNNING_CODES: Mapping[str, str] = {"333333": "RUNNING", "333334": "RUNNING"}
"""The codes of a 202: the statement was sent to be waited for, or not."""

KNOWN_STATUSES: Mapping[str, Phase] = {
    "NO_DATA": Phase.RUNNING,  # it was accepted, and nothing is known of it yet
    "QUEUED": Phase.QUEUED,
    "RESUMING_WAREHOUSE": Phase.WAITING_FOR_RESOURCES,
    "QUEUED_REPARING_WAREHOUSE": Phase.WAITING_FOR_RESOURCES,  # Snowflake's own spelling
    "BLOCKED": Phase.WAITING_FOR_RESOURCES,  # by another statement's lock
    "RUNNING": Phase.RUNNING,
    "RESTARTED": Phase.RUNNING,
    "ABORTING": Phase.RUNNING,
    "SUCCESS": Phase.SUCCEEDED,
    "ABORTED": Phase.FAILED,
    "DISCONNECTED": Phase.FAILED,
    "FAIL": Phase.FAILED,
    "FAILED_WITH_ERROR": Phase.FAILED,
    "INCIDENT": Phase.RETRYABLE_FAILED,
    "FAILED_WITH_INCIDENT": Phase.RETRYABLE_FAILED,  # a fault of Snowflake's
}

# 000603: Snowflake broke off for a fault of its own. 000625: another transaction's lock was waited for too long.
_PASSING_CODES = frozenset({"000603", "000625"})
_INTERNAL_ERROR = "XX"  # the class of SQL states that are the database's own faults


def of_answer(answer: Answer, location: str | None, link: TaskLog, ctx: Context) -> Resource:
    """What the SQL API's answer means. A code of a 202 that is not in :data:`RUNNING_CODES` is RUNNING, and told.

    :param location: the address of the result; None: the task declares no output.
    """
    facts: dict[str, Any] = {"code": answer.code or None, "query_id": answer.handle}
    if answer.status == 200:
        handles = _handles(answer)
        facts |= {"statements": len(handles) or None, "rows": _rows(answer), "statistics": answer.body.get("stats")}
        return Resource(
            phase=Phase.SUCCEEDED,
            message=answer.message,
            log_links=(link,),
            outputs=_outputs(location, handles[-1] if handles else None),
            custom_info=_known({**facts, "state": "SUCCESS"}),
        )
    if answer.status == 202:
        if answer.code not in RUNNING_CODES:
            ctx.unknown_state(answer.code)
        state = RUNNING_CODES.get(answer.code, "RUNNING")
        return Resource(Phase.RUNNING, answer.message, (link,), custom_info=_known({**facts, "state": state}))
    facts |= {"state": "FAILED_WITH_ERROR", "sql_state": answer.body.get("sqlState")}
    # A cancelled statement is FAILED too: of ABORTED the backend would not show Snowflake's message.
    phase = Phase.RETRYABLE_FAILED if _may_pass(answer.code, facts["sql_state"]) else Phase.FAILED
    return Resource(phase, answer.sentence(), (link,), custom_info=_known(facts))


def of_past(past: PastStatement, location: str | None, link: TaskLog, ctx: Context) -> Resource:
    """What the query history tells. A status that is not in :data:`KNOWN_STATUSES` is RUNNING, and told."""
    phase = KNOWN_STATUSES.get(past.status)
    if phase is None:
        ctx.unknown_state(past.status)
        phase = Phase.RUNNING
    message = past.status
    if past.error_message:
        message = f"{past.error_message} (code {past.error_code})" if past.error_code else past.error_message
    if phase is Phase.FAILED and _may_pass(past.error_code.zfill(6), ""):
        phase = Phase.RETRYABLE_FAILED
    facts = {
        "state": past.status,
        "query_id": past.query_id,
        "code": past.error_code or None,
        "rows": past.rows,
        "started": past.started and past.started.isoformat(timespec="milliseconds"),
        "ended": past.ended and past.ended.isoformat(timespec="milliseconds"),
    }
    outputs = _outputs(location, past.query_id) if phase is Phase.SUCCEEDED else None
    return Resource(phase, message, (link,), outputs, _known(facts))


def _may_pass(code: str, sql_state: Any) -> bool:
    return code in _PASSING_CODES or str(sql_state or "").startswith(_INTERNAL_ERROR)


def _outputs(location: str | None, query_id: str | None) -> dict[str, Any]:
    if location is None:
        return {}
    return {"results": StructuredDataset(uri=location if query_id is None else _at(location, query_id))}


def _at(location: str, query_id: str) -> str:
    return f"{location.rpartition('/')[0]}/{query_id}"


def _handles(answer: Answer) -> list[str]:
    """The statements that one request held, in their order: the result of the last one is the task's."""
    handles = answer.body.get("statementHandles")
    return [handle for handle in handles if isinstance(handle, str)] if isinstance(handles, list) else []


def _rows(answer: Answer) -> Any:
    about = answer.body.get("resultSetMetaData")
    return about.get("numRows") if isinstance(about, Mapping) else None


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}
