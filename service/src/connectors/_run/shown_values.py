"""Values and outcomes as JSON and as text."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from connectors._tables import printable
from connectors.local import Outcome, shown_meta
from connectors.models import Resource, TaskLog

__all__ = ["lines_of", "meta_as_json", "outcome_as_json", "resource_as_json", "written"]


def written(value: Any) -> str:
    """JSON, for a program."""
    return json.dumps(value, indent=2)


def outcome_as_json(outcome: Outcome, *, interrupted: bool = False) -> dict[str, Any]:
    """All that is known of how a run ended. :param interrupted: a signal ended it."""
    return {
        "phase": outcome.phase.name,
        "message": outcome.message,
        "outputs": _plain(outcome.outputs),
        "elapsed": round(outcome.elapsed, 3),
        "log_links": _links(outcome.log_links),
        "custom_info": _plain(outcome.custom_info),
        "timed_out": outcome.timed_out,
        "interrupted": interrupted,
        "job_left": outcome.job_left,
        "fault": outcome.fault or None,
        **meta_as_json(outcome.meta),
    }


def resource_as_json(resource: Resource) -> dict[str, Any]:
    """All that a poll told."""
    return {
        "phase": resource.phase.name,
        "message": resource.message,
        "outputs": _plain(resource.outputs),
        "log_links": _links(resource.log_links),
        "custom_info": _plain(resource.custom_info),
    }


def meta_as_json(meta: bytes) -> dict[str, str | None]:
    """A resource meta: as the commands take it, and in base64, as programs have it. None where there is none."""
    return {"meta": shown_meta(meta) if meta else None, "meta_base64": b64encode(meta).decode() if meta else None}


def lines_of(outputs: Mapping[str, Any]) -> Iterable[str]:
    """One line for each output, for people."""
    for name, value in outputs.items():
        text = (
            value if isinstance(value, str) and value.isprintable() else json.dumps(_plain(value), ensure_ascii=False)
        )
        yield f"{printable(name)}: {printable(text)}"


def _links(links: Iterable[TaskLog]) -> list[dict[str, Any]]:
    return [{"name": each.name, "uri": each.uri, "ready": each.ready} for each in links]


def _plain(value: Any) -> Any:
    """JSON-like: a time as ISO 8601, a duration as seconds, bytes as base64, a dataclass by its fields, and as
    text a number that JSON does not have.
    """
    match value:
        case enum.Enum():
            return _plain(value.value)
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
        case float() if not math.isfinite(value):
            return str(value)
        case None | str() | int() | float():
            return value
    return str(value)
