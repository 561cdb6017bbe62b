"""Inputs as a person types them, ``name=value``, to the values that the task's interface declares.

Text is taken as it is; numbers, truth values, times and URIs are read; lists, dicts and unions are JSON. Where a union
allows text, what is no JSON is that text.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors._run.mistakes import Mistake, did_you_mean
from connectors.models import Blob, Interface, LiteralType, Schema, StructuredDataset

__all__ = ["inputs_of"]

_INTEGERS = range(-(1 << 63), 1 << 63)
_DURATION = re.compile(
    r"(?P<sign>[-+]?)P?(?:(?P<days>\d+)D)?T?(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?",
    re.IGNORECASE,
)
_SHOWN = 60  # characters of a value, in an error


class _Unfit(Exception):
    """The value is not of the type. The text says what is needed."""


def inputs_of(given: Iterable[str], interface: Interface) -> dict[str, Any]:
    """The inputs' values, by name. One that is left out and may be None is None.

    :param given: each as ``name=value``.
    :raises Mistake: an input has no value, does not fit, is given twice, does not exist or is missing; the text names
        it.
    """
    values: dict[str, Any] = {}
    for each in given:
        name, sign, text = each.partition("=")
        if not (sign and name):
            raise Mistake(f"--input {_shown(each)}: an input is given as name=value")
        if name in values:
            raise Mistake(f"input {name}: is given twice")
        if name not in interface.inputs:
            raise Mistake(f"input {name}: the task has no such input{did_you_mean(name, interface.inputs)}")
        values[name] = _value(name, text, interface.inputs[name])
    for name, declared in interface.inputs.items():
        if name in values:
            continue
        if not _may_be_none(declared):
            raise Mistake(f"input {name}: is missing; its type is {_described(declared)}")
        values[name] = None
    return values


def _value(name: str, text: str, declared: LiteralType) -> Any:
    try:
        return _from_text(text, declared)
    except _Unfit as unfit:
        raise Mistake(f"input {name}: {unfit}, not {_shown(text)}") from None
    except RecursionError:
        raise Mistake(f"input {name}: is nested too deep") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def _may_be_none(declared: LiteralType) -> bool:
    return declared.kind == "none" or any(_may_be_none(each) for each in declared.variants)


def _described(declared: LiteralType) -> str:
    match declared.kind:
        case "union":
            return " | ".join(_described(each) for each in declared.variants)
        case "collection":
            return f"list[{_described(declared.element) if declared.element else 'unknown'}]"
        case "map":
            return f"dict[str, {_described(declared.element) if declared.element else 'unknown'}]"
        case "enum":
            return f"enum{list(declared.values)}"
        case kind:
            return kind


# --- from what was typed


def _from_text(text: str, declared: LiteralType) -> Any:
    match declared.kind:
        case "union":
            return _union_from_text(text, declared)
        case "collection" | "map" | "struct" | "unknown":
            return _from_json(_json(text, _NEEDED.get(declared.kind, "JSON is needed")), declared)
        case "none":
            if text.strip() not in {"", "null", "None"}:
                raise _Unfit("nothing is needed, or null")
            return None
        case "integer" | "float" | "boolean":
            return _PLAIN[declared.kind](text.strip())
        case _:
            return _from_json(text, declared)


def _union_from_text(text: str, declared: LiteralType) -> Any:
    try:
        written = _json(text, "")
    except _Unfit:
        written = text
    try:
        return _from_json(written, declared)
    except _Unfit:
        return _from_json(text, declared)  # 20240101 is a number in JSON, and here a text, or a time


def _json(text: str, needed: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise _Unfit(f"{needed} ({error})") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise _Unfit("a whole number is needed") from None
    return _in_range(number)


def _in_range(number: int) -> int:
    if number not in _INTEGERS:
        raise _Unfit("a whole number of 64 bits is needed")
    return number


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _Unfit("a number is needed") from None


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise _Unfit("true or false is needed")
    return text.lower() == "true"


_PLAIN: Mapping[str, Callable[[str], Any]] = {"integer": _integer, "float": _float, "boolean": _boolean}


# --- from JSON


def _from_json(written: Any, declared: LiteralType) -> Any:
    match declared.kind:
        case "union":
            return _union(written, declared)
        case "none" if written is None:
            return None
        case "boolean" if isinstance(written, bool):
            return written
        case "integer" if isinstance(written, int) and not isinstance(written, bool):
            return _in_range(written)
        case "float" if isinstance(written, int | float) and not isinstance(written, bool):
            return _finite(written)
        case "string" if isinstance(written, str):
            return written
        case "enum" if written in declared.values:
            return written
        case "datetime" if isinstance(written, str):
            return _datetime(written)
        case "duration" if isinstance(written, str | int | float) and not isinstance(written, bool):
            return _duration(str(written))
        case "binary" if isinstance(written, str):
            return _bytes(written)
        case "collection" if isinstance(written, list):
            return [_from_json(each, declared.element or _UNKNOWN) for each in written]
        case "map" if isinstance(written, dict):
            return {key: _from_json(each, declared.element or _UNKNOWN) for key, each in written.items()}
        case "struct" if isinstance(written, dict):
            return written
        case "blob" if isinstance(written, str) and written:
            return Blob(written, declared.format, declared.dimensionality)
        case "structured_dataset" if isinstance(written, str) and written:
            return StructuredDataset(written, declared.format, declared.columns)
        case "schema" if isinstance(written, str) and written:
            return Schema(written, {name: each.kind for name, each in declared.columns.items()})
        case "unknown":
            return written
    if declared.kind == "enum":
        raise _Unfit(f"one of {', '.join(declared.values)} is needed")
    raise _Unfit(_NEEDED[declared.kind])


def _union(written: Any, declared: LiteralType) -> Any:
    """The first variant that the value fits; a whole number fits an integer before a float."""
    variants = sorted(declared.variants, key=lambda each: each.kind == "float")
    for each in variants:
        try:
            return _from_json(written, each)
        except _Unfit:
            continue
    raise _Unfit(f"{_described(declared)} is needed")


def _finite(written: float) -> float:
    try:
        number = float(written)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise _Unfit("a number that a float can hold is needed")
    return number


def _datetime(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _Unfit(_NEEDED["datetime"]) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _duration(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        pass
    match = _DURATION.fullmatch("".join(text.split()))
    parts = {} if match is None else {name: part for name, part in match.groupdict().items() if part}
    sign = parts.pop("sign", "")
    if not parts:
        raise _Unfit(_NEEDED["duration"])
    try:
        found = timedelta(**{name: float(part) for name, part in parts.items()})
        return -found if sign == "-" else found
    except OverflowError:
        raise _Unfit(_NEEDED["duration"]) from None


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Unfit(_NEEDED["binary"]) from None


_UNKNOWN = LiteralType("unknown")
_NEEDED = {
    "none": "nothing is needed, or null",
    "boolean": "true or false is needed",
    "integer": "a whole number is needed",
    "float": "a number is needed",
    "string": "text is needed",
    "datetime": "a time as of ISO 8601 is needed, such as 2024-05-17T09:30:00Z",
    "duration": "a duration is needed: seconds, or such as 1h30m or PT1H30M",
    "binary": "bytes are needed, as base64",
    "collection": "a list is needed, as JSON",
    "map": "a dict is needed, as a JSON object",
    "struct": "a JSON object is needed",
    "blob": "a URI is needed",
    "structured_dataset": "a URI is needed",
    "schema": "a URI is needed",
    "error": "the error of another task is needed, which has no text",
}
