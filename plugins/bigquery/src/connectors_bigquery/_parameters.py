"""A task's inputs as named query parameters.

https://cloud.google.com/bigquery/docs/reference/rest/v2/QueryParameter: every value travels as text, beside its type.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from connectors import Binary, InvalidRequest, LiteralType

__all__ = ["query_parameters"]

_OF_KIND = {
    "integer": "INT64",
    "float": "FLOAT64",
    "string": "STRING",
    "enum": "STRING",
    "boolean": "BOOL",
    "datetime": "DATETIME",
    "binary": "BYTES",
}


class _Unfit(Exception):
    """BigQuery has no parameter for this value; the text says why."""


def query_parameters(
    inputs: Mapping[str, Any], declared: Mapping[str, LiteralType], statement: str
) -> list[dict[str, Any]]:
    """One named parameter per input, in the inputs' order.

    An input that BigQuery has no parameter type for is left out where the statement does not name it: a table that only
    orders the workflow's steps, say. BigQuery itself accepts parameters that a statement does not use.

    :param declared: the inputs' types, which decide what None and an empty list are.
    :raises InvalidRequest: the statement names an input that cannot be a parameter.
    """
    parameters = []
    for name, value in inputs.items():
        try:
            kind, encoded = _typed(value, declared.get(name))
        except _Unfit as reason:
            if _names(statement, name):
                raise InvalidRequest(f"the input {name!r} cannot be a query parameter: {reason}") from None
            continue
        parameters.append({"name": name, "parameterType": kind, "parameterValue": encoded})
    return parameters


def _names(statement: str, name: str) -> bool:
    # Parameters are case-insensitive. A match inside a comment or a string errs on the side of telling the user.
    return re.search(rf"@\s*`?{re.escape(name)}\b", statement, re.IGNORECASE) is not None


def _typed(value: Any, declared: LiteralType | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """``parameterType`` and ``parameterValue``."""
    if isinstance(value, list | tuple):
        element = _element_type(value, _variant(declared, "collection"))
        items = [{"value": _text(item, element)} for item in value]
        return {"type": "ARRAY", "arrayType": {"type": element}}, {"arrayValues": items}
    if value is None:
        return _typed_null(declared), {"value": None}
    kind = _scalar_type(value)
    if kind == "INT64" and _scalar_of(declared) == "FLOAT64":
        kind = "FLOAT64"
    return {"type": kind}, {"value": _text(value, kind)}


def _typed_null(declared: LiteralType | None) -> dict[str, Any]:
    if kind := _scalar_of(declared):
        return {"type": kind}
    collection = _variant(declared, "collection")
    if collection is not None and (element := _scalar_of(collection.element)):
        return {"type": "ARRAY", "arrayType": {"type": element}}
    raise _Unfit("it is null, and its declared type has no BigQuery type")


def _element_type(items: Sequence[Any], declared: LiteralType | None) -> str:
    expected = _scalar_of(declared.element) if declared is not None else None
    found = {_scalar_type(item) for item in items if item is not None}
    if not found:
        if expected is None:
            raise _Unfit("it is a list without a value, and its declared type does not say what it holds")
        return expected
    if found == {"INT64"} and expected == "FLOAT64":
        return expected
    if found == {"INT64", "FLOAT64"}:
        return "FLOAT64"
    if len(found) > 1:
        raise _Unfit(f"a list must hold one type, not {' and '.join(sorted(found))}")
    return found.pop()


def _variant(declared: LiteralType | None, kind: str) -> LiteralType | None:
    """The declared type, or the first of a union's variants, that is of this kind."""
    if declared is None:
        return None
    candidates = declared.variants if declared.kind == "union" else (declared,)
    return next((candidate for candidate in candidates if candidate.kind == kind), None)


def _scalar_of(declared: LiteralType | None) -> str | None:
    """The BigQuery type of a declared scalar, or of the first of a union's variants that is one."""
    if declared is None:
        return None
    candidates = declared.variants if declared.kind == "union" else (declared,)
    return next((_OF_KIND[candidate.kind] for candidate in candidates if candidate.kind in _OF_KIND), None)


def _scalar_type(value: Any) -> str:
    match value:
        case bool():
            return "BOOL"
        case int():
            return "INT64"
        case float():
            return "FLOAT64"
        case str():
            return "STRING"
        case bytes() | Binary():
            return "BYTES"
        case datetime():
            return "DATETIME"
        case date():
            return "DATE"
        case list() | tuple():
            raise _Unfit("BigQuery has no arrays of arrays")
        case _:
            raise _Unfit(f"BigQuery has no parameter type for a value of type {type(value).__name__}")


def _text(value: Any, kind: str) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case int() | float():
            # repr is exact; BigQuery reads nan, inf and -inf as they stand
            return repr(float(value)) if kind == "FLOAT64" else str(value)
        case Binary():
            return base64.b64encode(value.value).decode("ascii")
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime():
            # a DATETIME has no zone: UTC, as Google's own client has it
            aware = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return aware.isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case _:
            return str(value)
