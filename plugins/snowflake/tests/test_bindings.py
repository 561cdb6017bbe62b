"""A task's inputs as bind variables."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest

from connectors import Binary, InvalidRequest, LiteralType, StructuredDataset
from connectors_snowflake._bindings import bind, bind_rows

INTEGER, FLOAT = LiteralType("integer"), LiteralType("float")


def bound(statement: str, **inputs: Any) -> tuple[str, dict[str, Any]]:
    result = bind(statement, inputs, {})
    return result.statement, result.numbered()


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (7, "FIXED", "7"),
        (-(10**37), "FIXED", f"-1{'0' * 37}"),
        (0.1, "REAL", "0.1"),
        (float("nan"), "REAL", "nan"),
        (float("-inf"), "REAL", "-inf"),
        (True, "BOOLEAN", "true"),
        (False, "BOOLEAN", "false"),
        ("it's", "TEXT", "it's"),
        ("", "TEXT", ""),
        (b"\x00\xff", "BINARY", "00ff"),
        (Binary(b"\x01"), "BINARY", "01"),
        (None, "TEXT", None),
        (date(2024, 1, 2), "DATE", "1704153600000"),
        (date(1969, 12, 31), "DATE", "-86400000"),
        (time(1, 2, 3, 4), "TIME", "3723000004000"),
        (datetime(2024, 1, 2, 3, 4, 5, 6), "TIMESTAMP_NTZ", "1704164645000006000"),  # noqa: DTZ001
        (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "TEXT", "2024-01-02 03:04:05.000006+00:00"),
        (datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-5))), "TEXT", "2024-01-02 00:00:00.000000-05:00"),
        (timedelta(hours=26, minutes=3, seconds=4, microseconds=5), "TEXT", "26:03:04.000005"),
    ],
)
def test_a_value_has_its_snowflake_type(value: Any, kind: str, text: str | None) -> None:
    assert bound("SELECT %(x)s", x=value) == ("SELECT ?", {"1": {"type": kind, "value": text}})


@pytest.mark.parametrize(
    ("declared", "value", "kind", "text"),
    [
        (FLOAT, 1, "REAL", "1.0"),
        (INTEGER, None, "FIXED", None),
        (LiteralType("binary"), None, "BINARY", None),
        (LiteralType("union", variants=(LiteralType("none"), LiteralType("boolean"))), None, "BOOLEAN", None),
    ],
)
def test_the_declared_type_decides_where_the_value_does_not(
    declared: LiteralType, value: Any, kind: str, text: str | None
) -> None:
    result = bind("%(x)s", {"x": value}, {"x": declared})
    assert result.numbered() == {"1": {"type": kind, "value": text}}


def test_each_place_is_bound_in_the_order_of_the_statement() -> None:
    statement, bindings = bound("%(b)s %(a)s %(b)s", a=1, b=2)
    assert (statement, [binding["value"] for binding in bindings.values()]) == ("? ? ?", ["2", "1", "2"])


def test_a_list_is_bound_item_by_item() -> None:
    statement, bindings = bound("x IN %(x)s", x=[1, None, "a"])
    assert statement == "x IN (?, ?, ?)"
    assert [binding["type"] for binding in bindings.values()] == ["FIXED", "TEXT", "TEXT"]


def test_without_inputs_nothing_is_touched() -> None:
    assert bound("SELECT '100%%', 5 %% 3, '?', ?, %(x)s") == ("SELECT '100%%', 5 %% 3, '?', ?, %(x)s", {})


def test_with_inputs_two_percent_signs_are_one() -> None:
    assert bound("SELECT 5 %% 3, '%%', %(x)s -- %%", x=1)[0] == "SELECT 5 % 3, '%', ? -- %%"


def test_a_single_percent_sign_stays() -> None:
    assert bound("SELECT 5 % 3, 'a%', a %(b)c, %(x)s", x=1)[0] == "SELECT 5 % 3, 'a%', a %(b)c, ?"


def test_a_comment_stays_as_it_is() -> None:
    assert bound("/* %(x)s */ %(x)s -- %(x)s %(y)s", x=1)[0] == "/* %(x)s */ ? -- %(x)s %(y)s"


def test_a_number_is_written_into_a_string() -> None:
    assert bound("LIKE '%%%(n)s%%' AND \"c_%(n)s\"", n=-7) == ("LIKE '%-7%' AND \"c_-7\"", {})


@pytest.mark.parametrize("value", ["x", True, None, [1]])
def test_nothing_else_is_written_into_a_string(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"'%%' \|\| %\(x\)s"):
        bound("SELECT '%(x)s'", x=value)


def test_an_unnamed_input_is_left_out_whatever_it_is() -> None:
    assert bound("SELECT 1", table=StructuredDataset("s3://x")) == ("SELECT 1", {})


@pytest.mark.parametrize(
    ("statement", "value", "reason"),
    [
        ("%(y)s", 1, r"%\(y\)s names no input"),
        ("%(x)d", 1, r"%\(x\)d must be %\(x\)s"),
        ("? %(x)s", 1, "a '\\?' of its own"),
        ("%(x)s", [], "empty list"),
        ("%(x)s", [[1]], "may not hold lists"),
        ("%(x)s", 10**38, "38 digits"),
        ("%(x)s", {"a": 1}, "type dict"),
        ("%(x)s", StructuredDataset("s3://x"), "StructuredDataset"),
        ("%(x)s", timedelta(seconds=-1), "timedelta"),
    ],
)
def test_what_cannot_be_bound_is_refused(statement: str, value: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        bound(statement, x=value)


# --- batches


def test_a_batchs_row_is_repeated_for_each_value() -> None:
    statement = "INSERT INTO t (a, b) SELECT * FROM VALUES (%(a)s, UPPER(%(b)s)) -- VALUES (%(a)s)"
    result = bind_rows(statement, {"a": [1, 2], "b": ["x", None]}, {})
    assert result.statement == (
        "INSERT INTO t (a, b) SELECT * FROM VALUES (?, UPPER(?)), (?, UPPER(?)) -- VALUES (%(a)s)"
    )
    assert [binding["value"] for binding in result.numbered().values()] == ["1", "x", "2", None]


def test_a_batchs_values_have_the_declared_element_type() -> None:
    declared = {"a": LiteralType("collection", element=FLOAT)}
    result = bind_rows("INSERT INTO t VALUES (%(a)s)", {"a": [1, None]}, declared)
    assert [binding["type"] for binding in result.bindings] == ["REAL", "REAL"]


@pytest.mark.parametrize(
    ("statement", "columns", "reason"),
    [
        ("VALUES (%(a)s)", {"a": 1}, "'a' must be a list"),
        ("VALUES (%(a)s)", {"a": []}, "at least one"),
        ("VALUES (%(a)s, %(b)s)", {"a": [1], "b": [1, 2]}, "the same length"),
        ("SELECT %(a)s, 'VALUES (1)'", {"a": [1]}, "it has 0"),
        ("VALUES (%(a)s) VALUES (%(a)s)", {"a": [1]}, "it has 2"),
        ("VALUES (%(a)s", {"a": [1]}, "not closed"),
        ("VALUES (%(a)s) WHERE x = %(a)s", {"a": [1]}, "names no input"),
    ],
)
def test_what_is_no_batch_is_refused(statement: str, columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        bind_rows(statement, columns, {})
