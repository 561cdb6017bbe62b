"""A line for every job that is made, cancelled or asked to be: who, what, under which key, and how it ended.

The lines are of the logger ``connectors.audit``, at INFO, whatever the level of the log is. They name a job as its
connector's meta does, which holds references and never a secret's value; what this process knows to be one is taken out
all the same. Polls are not in it, nor what a connector asks of its platform.
"""

from __future__ import annotations

import logging
from typing import Any

from connectors._engine.events import CallEvent, Fact, KeyOutcome
from connectors._observability.log_lines import write
from connectors.models import TaskExecutionId
from connectors.secrets import redact

__all__ = ["audit_call", "audit_fact"]

_audit = logging.getLogger("connectors.audit")

_OF_CALLERS = frozenset({"create", "do", "delete"})
_LONGEST_JOB = 1_000  # characters; a caller may send a long meta
_DONE = {"adopted": "adopt", "cancelled": "cancel", "new": "create"}
"""What a server does for a key beside answering a call, by its outcome."""


def audit_call(event: CallEvent) -> None:
    """Write the line of a create, a ``do`` or a delete, a server's own deletions included; an observer for the
    engine.
    """
    by_caller = event.operation in _OF_CALLERS
    if not by_caller and event.operation != "reap":
        return
    fields: dict[str, Any] = {
        "action": event.operation if by_caller else "delete",
        "by": "caller" if by_caller else "server",
        "outcome": event.status,
        "task_type": event.task_type,
        "key": event.key,
        "job": _job(event.meta),
        **_whose(event.execution),
        "run_as": event.identity.execution_identity or event.identity.k8s_service_account or event.identity.iam_role,
        "peer": event.peer,
        "protocol": event.protocol,
        "repeated": event.repeated,
        "put_off": event.shielded,
        "error": event.error,
        "error_id": event.error_id,
    }
    _write(fields)


def audit_fact(fact: Fact) -> None:
    """Write what the server did for a key and no call's line tells: a job of the attempt before that was taken over or
    cancelled, one that was made when its callers had gone.
    """
    if not isinstance(fact, KeyOutcome) or fact.outcome not in _DONE or (fact.outcome == "new" and fact.heard):
        return
    _write(
        {
            "action": _DONE[fact.outcome],
            "by": "server",
            "outcome": "OK",
            "task_type": fact.task_type,
            "key": fact.key,
            "job": _job(fact.meta),
            **_whose(fact.execution),
        }
    )


def _write(fields: dict[str, Any]) -> None:
    if not _audit.isEnabledFor(logging.INFO):
        return
    told = {name: value for name, value in fields.items() if value}
    args = (fields["action"], fields["task_type"], fields["by"], fields["outcome"])
    write(_audit, logging.INFO, "%s of %s by the %s: %s", args, {"event": "audit", **told})


def _job(meta: bytes) -> str:
    # before a cut leaves half a secret, which nothing would find
    return redact(meta[: 4 * _LONGEST_JOB].decode("utf-8", "replace"))[:_LONGEST_JOB]


def _whose(execution: TaskExecutionId | None) -> dict[str, str]:
    if execution is None:
        return {}
    its, task = execution, execution.task_id
    return {
        "execution": f"{its.project}/{its.domain}/{its.execution}/{its.node_id}/{its.retry_attempt}",
        "task": f"{task.project}/{task.domain}/{task.name}/{task.version}",
    }
