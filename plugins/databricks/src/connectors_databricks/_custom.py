"""What a task's ``custom`` holds, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import InvalidRequest

__all__ = ["mapping", "text"]


def mapping(custom: Mapping[str, Any], key: str, *, required: bool = False) -> Mapping[str, Any]:
    """An object in ``custom``; empty where it is not there.

    :raises InvalidRequest: it is something else, or missing and ``required``.
    """
    value = custom.get(key)
    if value is None and not required:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequest(
            f"the task's custom.{key} must be an object" + ("" if value is not None else "; it is missing")
        )
    return value


def text(custom: Mapping[str, Any], key: str) -> str:
    """A string in ``custom``; "" where it is not there.

    :raises InvalidRequest: it is something else.
    """
    value = custom.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(f"the task's custom.{key} must be a string")
    return value.strip()
