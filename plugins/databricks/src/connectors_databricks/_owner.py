"""Whose run it is: the tags of the clusters that it makes, and its name. ``runs/submit`` takes no tags of the run's."""

from __future__ import annotations

import re

from connectors import Context, TaskTemplate

__all__ = ["KEY_TAG", "run_name", "tags"]

KEY_TAG = "connectors-key"
"""The tag with the idempotency key."""
_LONGEST_TAG = 63
_LONGEST_NAME = 1_000  # characters; Databricks takes 4,096 bytes


def tags(ctx: Context) -> dict[str, str]:
    """The key and the owner. The alphabet is the one that all three clouds allow, which is that of Google's labels."""
    found = {KEY_TAG: ctx.idempotency_key}
    owner = ctx.metadata.task_execution_id
    if owner is not None:
        found |= {
            "flyte-project": owner.project,
            "flyte-domain": owner.domain,
            "flyte-execution": owner.execution,
            "flyte-node": owner.node_id,
            "flyte-attempt": str(owner.retry_attempt),
        }
    return {name: re.sub(r"[^a-z0-9_-]", "-", value.lower())[:_LONGEST_TAG] for name, value in found.items() if value}


def run_name(task: TaskTemplate, ctx: Context) -> str:
    """The name of a run that the task gives none: the task's, and where it runs in Flyte."""
    owner = ctx.metadata.task_execution_id
    if owner is None:
        return (task.id.name or "flyte task")[:_LONGEST_NAME]
    where = "/".join(part for part in (owner.project, owner.domain, owner.execution, owner.node_id) if part)
    return f"{task.id.name or 'flyte task'} ({where}, attempt {owner.retry_attempt})"[:_LONGEST_NAME]
