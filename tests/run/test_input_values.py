"""Inputs as they are typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from connectors import Blob, Interface, LiteralType, Schema, StructuredDataset
from connectors._run.input_values import inputs_of
from connectors._run.mistakes import Mistake
from connectors._run.type_names import type_of


def typed(kind: str, text: str) -> Any:
    return inputs_of([f"x={text}"], Interface({"x": type_of(kind, "x")}))["x"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "7", 7),
        ("int", "-9223372036854775808", -(2**63)),
        ("float", "2", 2.0),
        ("float", "1e3", 1000.0),
        ("bool", "true", True),
        ("bool", "False", False),
        ("str", "7", "7"),
        ("str", "", ""),
        ("str", "a=b", "a=b"),
        ("str", " a ", " a "),
        ("datetime", "2024-05-17T09:30:00Z", datetime(2024, 5, 17, 9, 30, tzinfo=UTC)),
        ("datetime", "2024-05-17", datetime(2024, 5, 17, tzinfo=UTC)),
        ("datetime", "20240517", datetime(2024, 5, 17, tzinfo=UTC)),
        ("datetime", "2024-05-17T09:30+02:00", datetime(2024, 5, 17, 9, 30, tzinfo=timezone(timedelta(hours=2)))),
        ("timedelta", "90", timedelta(seconds=90)),
        ("timedelta", "0.5", timedelta(milliseconds=500)),
        ("timedelta", "1h30m", timedelta(minutes=90)),
        ("timedelta", "1d 2h 3m 4.5s", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("timedelta", "PT1H30M", timedelta(minutes=90)),
        ("timedelta", "-P1D", timedelta(days=-1)),
        ("bytes", "aGk=", b"hi"),
        ("None", "null", None),
        ("None", "", None),
        ("list[int]", "[1, 2]", [1, 2]),
        ("list[float]", "[1, 2.5]", [1.0, 2.5]),
        ("list[datetime]", '["2024-05-17"]', [datetime(2024, 5, 17, tzinfo=UTC)]),
        ("dict[str, timedelta]", '{"a": 1, "b": "1m"}', {"a": timedelta(seconds=1), "b": timedelta(minutes=1)}),
        ("dict", '{"a": [1, null]}', {"a": [1, None]}),
        ("list[list[str]]", '[["a"], []]', [["a"], []]),
        ("enum['small', 'large']", "large", "large"),
        ("file", "s3://bucket/a", Blob("s3://bucket/a")),
        ("folder", "s3://bucket/a/", Blob("s3://bucket/a/", dimensionality="multipart")),
        ("structured_dataset", "bq://p:d.t", StructuredDataset("bq://p:d.t")),
        ("schema", "s3://bucket/t", Schema("s3://bucket/t")),
        ("int | str", "5", 5),
        ("int | str", '"5"', "5"),
        ("int | str", "five", "five"),
        ("str | None", "5", "5"),
        ("str | None", "null", None),
        ("float | int", "5", 5),
        ("int | float", "5.5", 5.5),
        ("datetime | str", "20240517", datetime(2024, 5, 17, tzinfo=UTC)),
        ("list[int] | None", "[1]", [1]),
    ],
)
def test_a_text_becomes_the_value_that_its_type_says(kind: str, text: str, value: Any) -> None:
    found = typed(kind, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "needed"),
    [
        ("int", "seven", "a whole number is needed, not 'seven'"),
        ("int", "1.5", "a whole number is needed, not '1.5'"),
        ("int", "9223372036854775808", "a whole number of 64 bits is needed, not '9223372036854775808'"),
        ("float", "x", "a number is needed, not 'x'"),
        ("bool", "yes", "true or false is needed, not 'yes'"),
        ("datetime", "tomorrow", "a time as of ISO 8601 is needed, such as 2024-05-17T09:30:00Z, not 'tomorrow'"),
        ("timedelta", "P", "a duration is needed: seconds, or such as 1h30m or PT1H30M, not 'P'"),
        ("timedelta", "nan", "a duration is needed: seconds, or such as 1h30m or PT1H30M, not 'nan'"),
        ("bytes", "?", "bytes are needed, as base64, not '?'"),
        ("list[int]", '[1, "a"]', "a whole number is needed, not '[1, \"a\"]'"),
        ("list[int]", "[true]", "a whole number is needed, not '[true]'"),
        ("dict", "[1]", "a JSON object is needed, not '[1]'"),
        ("enum['small', 'large']", "big", "one of small, large is needed, not 'big'"),
        ("file", "", "a URI is needed, not ''"),
        ("int | None", "x", "integer | none is needed, not 'x'"),
        ("error", "x", "the error of another task is needed, which has no text, not 'x'"),
    ],
)
def test_a_text_that_does_not_fit_is_refused_by_the_inputs_name(kind: str, text: str, needed: str) -> None:
    with pytest.raises(Mistake) as mistake:
        typed(kind, text)
    assert str(mistake.value) == f"input x: {needed}"


@pytest.mark.parametrize(
    ("text", "position"), [("[1,", "Expecting value"), ("[NaN]", "NaN is not JSON"), ("[" * 200_000, "nested too deep")]
)
def test_what_is_no_json_says_why(text: str, position: str) -> None:
    with pytest.raises(Mistake, match=f"^input x: .*{position}"):
        typed("list[float]", text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["v"], "--input 'v': an input is given as name=value"),
        (["=1"], "--input '=1': an input is given as name=value"),
        (["v=1", "v=2"], "input v: is given twice"),
        (["vv=1"], "input vv: the task has no such input; did you mean v?"),
        (["zzz=1"], "input zzz: the task has no such input; there are note, v"),
        ([], "input v: is missing; its type is integer"),
    ],
)
def test_inputs_are_those_that_the_task_declares(given: list[str], message: str) -> None:
    declared = Interface({"v": LiteralType("integer"), "note": type_of("str | None", "note")})
    with pytest.raises(Mistake) as mistake:
        inputs_of(given, declared)
    assert str(mistake.value) == message


def test_an_input_that_may_be_none_can_be_left_out() -> None:
    declared = Interface({"v": LiteralType("integer"), "note": type_of("str | None", "note")})
    assert inputs_of(["v=1"], declared) == {"v": 1, "note": None}


def test_a_long_value_is_shown_cut_in_an_error() -> None:
    with pytest.raises(Mistake) as mistake:
        typed("int", "9" * 10_000)
    assert len(str(mistake.value)) < 150
