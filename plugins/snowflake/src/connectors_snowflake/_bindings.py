"""A task's inputs as the bind variables of a statement.

Flyte's own connector has the driver write the values into the statement, for ``%(name)s``. The SQL API takes ``?`` with
a list of bindings instead: https://docs.snowflake.com/en/developer-guide/sql-api/submitting-requests, "Using bind
variables in a statement". Values travel as text beside their type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from connectors import Binary, InvalidRequest, LiteralType
from connectors_snowflake._sql import Kind, split

__all__ = ["Binding", "Bound", "bind", "bind_rows"]

Binding = Mapping[str, str | None]
"""``type`` and ``value``."""

_PLACEHOLDER = re.compile(r"%%|%\((?P<name>[^()]*)\)(?P<form>[A-Za-z])")
_VALUES = re.compile(r"\bVALUES\s*(?=\()", re.IGNORECASE)
_OF_KIND = {
    "integer": "FIXED",
    "float": "REAL",
    "string": "TEXT",
    "enum": "TEXT",
    "boolean": "BOOLEAN",
    "binary": "BINARY",
}
_MOST_DIGITS = 38  # https://docs.snowflake.com/en/sql-reference/data-types-numeric
_EPOCH = date(1970, 1, 1)


class _Unfit(Exception):
    """Snowflake has no bind variable for this value; the text says why."""


class Bound:
    """A statement with ``?`` for its placeholders, and what they stand for, in order."""

    def __init__(self) -> None:
        self.bindings: list[Binding] = []
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        """The statement goes on with ``text``."""
        self._parts.append(text)

    @property
    def statement(self) -> str:
        return "".join(self._parts)

    def numbered(self) -> dict[str, Binding]:
        """As the SQL API takes them: by position, from "1"."""
        return {str(number): binding for number, binding in enumerate(self.bindings, 1)}


def bind(statement: str, inputs: Mapping[str, Any], declared: Mapping[str, LiteralType]) -> Bound:
    """``statement`` with each ``%(name)s`` made a bind variable; a list becomes ``(?, ?, …)``.

    Without inputs it stays as it is, as the driver leaves it; with them ``%%`` is ``%``. In a string or a quoted name
    there can be no bind variable: a number is written there, anything else refused. An input that the statement does
    not name is left out.

    :param declared: the inputs' types, which decide what None is.
    :raises InvalidRequest: a placeholder names no input, or one whose value Snowflake has no bind variable for.
    """
    bound = Bound()
    if inputs:
        _render(statement, inputs, declared, bound)
    else:
        bound.add(statement)
    return bound


def bind_rows(statement: str, columns: Mapping[str, Any], declared: Mapping[str, LiteralType]) -> Bound:
    """``statement`` with its one ``VALUES (…)`` repeated for each row; each input is the list of a column's values.

    :raises InvalidRequest: as :func:`bind`; or there is not exactly one ``VALUES (…)``, or the inputs are not lists of
        one length, of at least one.
    """
    count = _rows(columns)
    before, row, after = _around_values(statement)
    elements = {name: _element(declared.get(name)) for name in columns}
    types = {name: element for name, element in elements.items() if element is not None}
    bound = Bound()
    _render(before, {}, {}, bound)
    for number in range(count):
        bound.add(", " if number else "")
        _render(row, {name: values[number] for name, values in columns.items()}, types, bound)
    _render(after, {}, {}, bound)
    return bound


def _rows(columns: Mapping[str, Any]) -> int:
    for name, values in columns.items():
        if not isinstance(values, list | tuple):
            raise InvalidRequest(f"batch: the input {name!r} must be a list, with one value for each row")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise InvalidRequest("batch: the inputs must be lists of the same length, of at least one value")
    return lengths.pop()


def _around_values(statement: str) -> tuple[str, str, str]:
    """What stands before the row of ``VALUES (…)``, the row with its parentheses, and what follows."""
    code = "".join(text if kind is Kind.CODE else "x" * len(text) for kind, text in split(statement))
    found = list(_VALUES.finditer(code))
    if len(found) != 1:
        raise InvalidRequest(f"batch: the statement must have one VALUES (…), it has {len(found)}")
    start, depth = found[0].end(), 0
    for end in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        if depth == 0:
            return statement[:start], statement[start : end + 1], statement[end + 1 :]
    raise InvalidRequest("batch: the parenthesis after VALUES is not closed")


def _render(statement: str, inputs: Mapping[str, Any], declared: Mapping[str, LiteralType], bound: Bound) -> None:
    """Add ``statement`` to what is bound already."""

    def in_code(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return "%"
        if name not in inputs:
            if found["form"] != "s":
                return found[0]  # a remainder: a %(b) …
            raise InvalidRequest(f"the statement's placeholder %({name})s names no input of the task")
        if found["form"] != "s":
            raise InvalidRequest(f"the statement's placeholder {found[0]} must be %({name})s")
        return _variables(name, inputs[name], declared.get(name), bound)

    def in_quotes(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return "%"
        if name not in inputs or found["form"] != "s":
            return found[0]
        value = inputs[name]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return repr(value)
        raise InvalidRequest(
            f"the statement's placeholder %({name})s stands in quotes, where no value can be bound: write it outside, "
            f"as in '%%' || %({name})s || '%%'"
        )

    for kind, text in split(statement):
        if kind is Kind.CODE:
            if "?" in text and inputs:
                raise InvalidRequest("the statement has a '?' of its own: name its inputs as %(name)s")
            bound.add(_PLACEHOLDER.sub(in_code, text))
        else:
            bound.add(_PLACEHOLDER.sub(in_quotes, text) if kind is Kind.QUOTED else text)


def _variables(name: str, value: Any, declared: LiteralType | None, bound: Bound) -> str:
    try:
        if not isinstance(value, list | tuple):
            bound.bindings.append(_binding(value, declared))
            return "?"
        if not value:
            raise _Unfit("it is an empty list, for which SQL has no form")
        bound.bindings.extend(_binding(item, _element(declared)) for item in value)
    except _Unfit as reason:
        raise InvalidRequest(f"the input {name!r} cannot be bound: {reason}") from None
    return f"({', '.join('?' for _ in value)})"


def _element(declared: LiteralType | None) -> LiteralType | None:
    if declared is None:
        return None
    return next((found.element for found in _variants(declared) if found.kind == "collection"), None)


def _variants(declared: LiteralType) -> Sequence[LiteralType]:
    return declared.variants if declared.kind == "union" else (declared,)


def _type_of(declared: LiteralType | None) -> str:
    """The Snowflake type of a declared scalar, or of the first of a union's variants that is one; else TEXT, which
    Snowflake converts to most others.
    """
    variants = _variants(declared) if declared is not None else ()
    return next((_OF_KIND[variant.kind] for variant in variants if variant.kind in _OF_KIND), "TEXT")


def _binding(value: Any, declared: LiteralType | None) -> Binding:
    kind, text = _typed(value, declared)
    return {"type": kind, "value": text}


def _typed(value: Any, declared: LiteralType | None) -> tuple[str, str | None]:
    match value:
        case None:
            return _type_of(declared), None
        case bool():
            return "BOOLEAN", "true" if value else "false"
        case int() if _type_of(declared) != "REAL":
            if abs(value) >= 10**_MOST_DIGITS:
                raise _Unfit(f"a whole number has at most {_MOST_DIGITS} digits")
            return "FIXED", str(value)
        case int() | float():
            return "REAL", repr(float(value))  # exact; nan, inf and -inf are read as they stand
        case str():
            return "TEXT", value
        case Binary():
            return "BINARY", value.value.hex()
        case bytes():
            return "BINARY", value.hex()
        case datetime() if value.tzinfo is not None:
            # As text, which is what the driver writes: Snowflake makes of it what it is compared with or stored in.
            # A TIMESTAMP_TZ would shift by the session's time zone where a column has none, a TIMESTAMP_NTZ where it
            # has one.
            return "TEXT", value.isoformat(sep=" ", timespec="microseconds")
        case datetime():
            return "TIMESTAMP_NTZ", str(_microseconds(value - datetime(1970, 1, 1)) * 1000)  # noqa: DTZ001 - no zone
        case date():
            return "DATE", str((value - _EPOCH).days * 86_400_000)  # milliseconds
        case time():
            midnight = timedelta(
                hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
            )
            return "TIME", str(_microseconds(midnight) * 1000)  # nanoseconds
        case timedelta() if value >= timedelta():
            minutes, seconds = divmod(int(value.total_seconds()), 60)
            return "TEXT", f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{value.microseconds:06}"
        case list() | tuple():
            raise _Unfit("a list may not hold lists")
        case _:
            raise _Unfit(f"Snowflake has no bind variable for a value of type {type(value).__name__}")


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
