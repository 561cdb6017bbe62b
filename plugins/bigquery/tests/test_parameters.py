from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from connectors import Binary, InvalidRequest, LiteralType, StructuredDataset
from connectors_bigquery._parameters import query_parameters

INTEGER, FLOAT, STRING, NONE = (LiteralType(kind) for kind in ("integer", "float", "string", "none"))


def parameter(value: Any, declared: LiteralType | None = None) -> tuple[Any, Any]:
    [made] = query_parameters({"x": value}, {"x": declared} if declared else {}, "SELECT @x")
    assert made["name"] == "x"
    return made["parameterType"], made["parameterValue"]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, "BOOL", "true"),
        (False, "BOOL", "false"),
        (b"\x00\xff", "BYTES", "AP8="),
        (Binary(b"\x00\xff", tag="raw"), "BYTES", "AP8="),
        (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "DATETIME", "2024-01-02T03:04:05.000006"),
        (datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "DATETIME", "2024-01-02T01:00:00.000000"),
        (datetime(1, 1, 1), "DATETIME", "0001-01-01T00:00:00.000000"),  # noqa: DTZ001 - a naive one is UTC
        (date(2024, 1, 2), "DATE", "2024-01-02"),
        (1.5, "FLOAT64", "1.5"),
        (0.1, "FLOAT64", "0.1"),
        (float("nan"), "FLOAT64", "nan"),
        (float("-inf"), "FLOAT64", "-inf"),
        (2**63 - 1, "INT64", "9223372036854775807"),
        ("it's @x", "STRING", "it's @x"),
        ("", "STRING", ""),
    ],
)
def test_a_value_has_its_type_and_its_text(value: object, kind: str, text: str) -> None:
    assert parameter(value) == ({"type": kind}, {"value": text})


def test_a_list_is_an_array_of_its_values_type() -> None:
    assert parameter([1, 2]) == (
        {"type": "ARRAY", "arrayType": {"type": "INT64"}},
        {"arrayValues": [{"value": "1"}, {"value": "2"}]},
    )


def test_an_array_may_hold_nulls() -> None:
    assert parameter([None, "a"])[1] == {"arrayValues": [{"value": None}, {"value": "a"}]}


def test_whole_numbers_among_floats_are_floats() -> None:
    assert parameter([1, 2.5]) == (
        {"type": "ARRAY", "arrayType": {"type": "FLOAT64"}},
        {"arrayValues": [{"value": "1.0"}, {"value": "2.5"}]},
    )


def test_whole_numbers_where_floats_are_declared_are_floats() -> None:
    assert parameter(1, FLOAT) == ({"type": "FLOAT64"}, {"value": "1.0"})
    assert parameter([1], LiteralType("collection", element=FLOAT))[0]["arrayType"] == {"type": "FLOAT64"}


@pytest.mark.parametrize("items", [[], [None]])
def test_a_list_without_a_value_has_the_declared_element_type(items: list[None]) -> None:
    kind, _ = parameter(items, LiteralType("collection", element=LiteralType("datetime")))
    assert kind == {"type": "ARRAY", "arrayType": {"type": "DATETIME"}}


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        (INTEGER, {"type": "INT64"}),
        (LiteralType("binary"), {"type": "BYTES"}),
        (LiteralType("enum", values=("a",)), {"type": "STRING"}),
        (LiteralType("union", variants=(NONE, STRING)), {"type": "STRING"}),
        (LiteralType("collection", element=FLOAT), {"type": "ARRAY", "arrayType": {"type": "FLOAT64"}}),
        (
            LiteralType("union", variants=(LiteralType("collection", element=INTEGER), NONE)),
            {"type": "ARRAY", "arrayType": {"type": "INT64"}},
        ),
    ],
)
def test_none_is_a_null_of_the_declared_type(declared: LiteralType, kind: object) -> None:
    assert parameter(None, declared) == (kind, {"value": None})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "it is null"),
        ([], "a list without a value"),
        ([1, "a"], "INT64 and STRING"),
        ([[1]], "no arrays of arrays"),
        ({"a": 1}, "a value of type dict"),
        (timedelta(1), "a value of type timedelta"),
        (StructuredDataset("bq://p:d.t"), "a value of type StructuredDataset"),
    ],
)
def test_a_value_that_no_parameter_fits_is_an_error_that_names_it(value: object, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'x' cannot be a query parameter: .*{reason}"):
        parameter(value)


@pytest.mark.parametrize("statement", ["SELECT @X", "SELECT @ x", "SELECT @`x`"])
def test_a_parameter_is_found_however_it_is_written(statement: str) -> None:
    with pytest.raises(InvalidRequest):
        query_parameters({"x": {}}, {}, statement)


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT @xy", "SELECT x"])
def test_an_unfit_input_that_the_statement_does_not_name_is_left_out(statement: str) -> None:
    assert query_parameters({"x": {}, "y": 1}, {}, statement) == [
        {"name": "y", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}}
    ]


def test_the_error_does_not_hold_the_value() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parameter({"password": "correct horse"})
    assert "correct horse" not in str(caught.value)
