"""A batch as a Flyte resource: every state, every kind of end.

https://developers.openai.com/api/docs/guides/batch: the eight states, and what a batch has in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connectors import Phase, Resource, TaskLog

__all__ = ["FILES", "IS_OVER", "PHASES", "completed", "created", "errors_of", "resource", "state_of"]

PHASES: Mapping[str, Phase] = {
    "validating": Phase.RUNNING,
    "in_progress": Phase.RUNNING,
    "finalizing": Phase.RUNNING,
    "cancelling": Phase.RUNNING,
    "completed": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "expired": Phase.FAILED,
    "cancelled": Phase.FAILED,
}
IS_OVER = frozenset(state for state, phase in PHASES.items() if phase.is_terminal)
FILES: Mapping[str, str] = {"output": "output_file_id", "error": "error_file_id"}
"""Where a batch names its files."""

_PASSING = frozenset({"token_limit_exceeded"})
"""Codes of failures that other batches of the organisation cause: once those are done, the same batch may be made."""
_MOST_ERRORS = 10


def state_of(batch: Mapping[str, Any]) -> str:
    """Its ``status``."""
    return str(batch["status"])


def created(batch: Mapping[str, Any]) -> datetime | None:
    """When OpenAI made the batch, by its own clock; None where the batch does not say."""
    return _instant(batch.get("created_at"))


def completed(batch: Mapping[str, Any]) -> datetime | None:
    """When it was completed, by the same clock; None where the batch does not say."""
    return _instant(batch.get("completed_at"))


def errors_of(batch: Mapping[str, Any]) -> list[str]:
    """What OpenAI found wrong with the batch or its file, a sentence each."""
    return [_sentence(error) for error in _errors(batch)]


def resource(batch: Mapping[str, Any], usage: Mapping[str, int], link: TaskLog | None) -> Resource:
    """What a batch's state means, without its outputs. A state that is not in :data:`PHASES` is RUNNING."""
    state = state_of(batch)
    phase = PHASES.get(state, Phase.RUNNING)
    message = f"the batch is {state}"
    counts = _counts(batch)
    if counts.get("failed"):
        message += f"; {counts['failed']} of {counts.get('total', 'its')} requests failed"
    if phase is Phase.FAILED:
        found = errors_of(batch)
        message = "; ".join([message, *found[:_MOST_ERRORS]])
        if any(error.get("code") in _PASSING for error in _errors(batch)):
            phase = Phase.RETRYABLE_FAILED
    return Resource(phase, message[:4_000], log_links=(link,) if link else (), custom_info=_facts(batch, counts, usage))


def _errors(batch: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    errors = batch.get("errors")
    data = errors.get("data") if isinstance(errors, Mapping) else None
    return [error for error in data if isinstance(error, Mapping)] if isinstance(data, list) else []


def _sentence(error: Mapping[str, Any]) -> str:
    text = f"{str(error.get('message') or 'no message')[:1_000]} (code: {str(error.get('code') or 'not given')[:100]})"
    line = error.get("line")
    return f"line {line}: {text}" if isinstance(line, int) else text


def _counts(batch: Mapping[str, Any]) -> dict[str, int]:
    counts = batch.get("request_counts")
    if not isinstance(counts, Mapping):
        return {}
    return {name: count for name in ("total", "completed", "failed") if type(count := counts.get(name)) is int}


def _facts(batch: Mapping[str, Any], counts: Mapping[str, int], usage: Mapping[str, int]) -> dict[str, Any]:
    """What a person asks about a batch: how far it is, what it cost, when it ran, where its results are."""
    named = ("status", "endpoint", "model", "input_file_id", *FILES.values())
    facts: dict[str, Any] = {name: value[:200] for name in named if isinstance(value := batch.get(name), str)}
    times = ("created", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    for name in times:
        instant = _instant(batch.get(f"{name}_at"))
        if instant is not None:
            facts[f"{name}_at"] = instant.isoformat(timespec="seconds")
    if counts:
        facts["requests"] = dict(counts)
    if usage:
        facts["usage"] = dict(usage)
    return facts


def _instant(value: Any) -> datetime | None:
    """Seconds since 1970."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
