"""Telling whether two requests under one key are the same request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

import anyio.to_thread

from connectors._engine.requests import CreateRequest

__all__ = ["fingerprint"]

_PLAIN = frozenset({str, bool, int, float, type(None)})
"""Most of what there is: JSON tells these from each other by itself."""
_known: dict[type[Any], tuple[str, ...] | None] = {}
_LARGE = 32 * 1024  # bytes on the wire, from which on hashing would hold up the event loop for too long


async def fingerprint(request: CreateRequest) -> str:
    """As :func:`fingerprint_of`; in a thread where the request is large."""
    if request.input_bytes + request.template_bytes < _LARGE:
        return fingerprint_of(request)
    return await anyio.to_thread.run_sync(fingerprint_of, request)


def fingerprint_of(request: CreateRequest) -> str:
    """A hash of what the request asks for: template id, custom, config, SQL, container command and args, pod,
    inputs.

    Taken of decoded values in a fixed order, never of the bytes: the callers write their maps in a random order.
    Labels, environment and secrets are no part of it.

    :raises InvalidRequest: an input has no native form.
    """
    template = request.template()
    container = template.container
    parts = {
        "type": [template.type, template.task_type_version],
        "id": vars(template.id),
        "custom": template.custom,
        "config": template.config,
        "sql": vars(template.sql) if template.sql else None,
        "run": [container.image, container.command, container.args] if container else None,
        "pod": template.k8s_pod,
        # their maps may have keys of any kind, of which JSON makes texts without a word
        "inputs": {name: _canonical(value) for name, value in request.inputs().items()},
    }
    return hashlib.sha256(_encode(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _canonical(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {f"{type(key).__name__}:{key}": _canonical(item) for key, item in value.items()}
    if (names := _names_of(kind)) is not None:
        return [kind.__name__, {name: _canonical(getattr(value, name)) for name in names}]
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {f"{type(key).__name__}:{key}": _canonical(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(repr(_canonical(item)) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_canonical(item) for item in value]
    return [kind.__name__, repr(value)]


def _names_of(kind: type[Any]) -> tuple[str, ...] | None:
    """The fields of a dataclass; None for any other class."""
    if kind not in _known:
        _known[kind] = tuple(each.name for each in fields(kind)) if is_dataclass(kind) else None
    return _known[kind]


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=_canonical).encode
