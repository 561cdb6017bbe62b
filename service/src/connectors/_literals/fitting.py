"""Which value fits which declared type, and the words for both in an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from connectors import models
from connectors._literals.faults import Misfit
from connectors._literals.plain import is_record
from connectors.models import LiteralType

__all__ = ["described", "fits", "whole_float"]


def fits(value: Any, expected: LiteralType) -> bool:
    """Whether the value, as it is, can be a literal of this type. Containers, enums and unions have their own rules."""
    rule = _RULES.get(expected.kind)
    return rule is not None and rule(value, expected)


def whole_float(value: int) -> float:
    """The int as a float.

    :raises Misfit: where that would change it.
    """
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if number != value:  # Python compares an int with a float exactly
        raise Misfit("expected float, got an int that a float cannot hold exactly")
    return number


def _is_integer(value: Any, _expected: LiteralType) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_blob(value: Any, expected: LiteralType) -> bool:
    if not isinstance(value, models.Blob) or value.dimensionality != expected.dimensionality:
        return False
    return not expected.format or not value.format or value.format == expected.format


def _is_binary(value: Any, _expected: LiteralType) -> bool:
    return isinstance(value, models.Binary | bytes | bytearray | memoryview)


def _is_struct(value: Any, _expected: LiteralType) -> bool:
    return isinstance(value, Mapping) or is_record(value) or isinstance(value, models.Binary)


def _instance_of(kind: type) -> Callable[[Any, LiteralType], bool]:
    return lambda value, _expected: isinstance(value, kind)


_RULES: dict[str, Callable[[Any, LiteralType], bool]] = {
    "none": lambda value, _expected: value is None,
    "integer": _is_integer,
    "float": _instance_of(float),
    "string": _instance_of(str),
    "boolean": _instance_of(bool),
    "datetime": _instance_of(date),
    "duration": _instance_of(timedelta),
    "binary": _is_binary,
    "struct": _is_struct,
    "error": _instance_of(models.ErrorValue),
    "blob": _is_blob,
    "schema": _instance_of(models.Schema),
    "structured_dataset": _instance_of(models.StructuredDataset),
}


def described(expected: LiteralType) -> str:
    """The type in words, to the depth that helps."""
    element = expected.element.kind if expected.element else "unknown"
    match expected.kind:
        case "union":
            return " | ".join(each.kind for each in expected.variants) or "nothing (a union of no variants)"
        case "enum":
            more = ", …" if len(expected.values) > 10 else ""
            return f"one of {', '.join(expected.values[:10])}{more}"
        case "collection":
            return f"collection of {element}"
        case "map":
            return f"map of {element}"
        case "blob":
            return f"{expected.dimensionality} blob" + (f" of format {expected.format}" if expected.format else "")
        case kind:
            return kind
