"""Values as the commands show them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from connectors import Blob, LiteralType, Phase, StructuredDataset
from connectors._run.shown_values import lines_of, meta_as_json, outcome_as_json, written
from connectors.local import Outcome


class Size(Enum):
    LARGE = "large"


@dataclass
class Order:
    size: Size
    at: datetime


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2.5, 2.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("a\nb", "a\nb"),
        (b"hi", "aGk="),
        (datetime(2024, 5, 17, tzinfo=UTC), "2024-05-17T00:00:00+00:00"),
        (date(2024, 5, 17), "2024-05-17"),
        (timedelta(minutes=1), 60.0),
        ([1, (2,)], [1, [2]]),
        ({"a": {1: Size.LARGE}}, {"a": {"1": "large"}}),
        (Order(Size.LARGE, datetime(2024, 5, 17, tzinfo=UTC)), {"size": "large", "at": "2024-05-17T00:00:00+00:00"}),
        (Blob("s3://b/a"), {"uri": "s3://b/a", "format": "", "dimensionality": "single"}),
        (complex(1, 2), "(1+2j)"),
    ],
)
def test_a_value_is_json_that_every_reader_takes(value: Any, shown: Any) -> None:
    outcome = Outcome(Phase.SUCCEEDED, "", {"o0": value}, elapsed=1.0)
    text = written(outcome_as_json(outcome))
    assert json.loads(text, parse_constant=pytest.fail)["outputs"] == {"o0": shown}


def test_a_columns_type_is_shown_with_its_table() -> None:
    table = StructuredDataset("bq://p:d.t", columns={"a": LiteralType("integer")})
    (line,) = lines_of({"results": table})
    assert json.loads(line.removeprefix("results: "))["columns"]["a"]["kind"] == "integer"


def test_text_is_a_line_as_it_is_and_as_json_where_it_is_more_than_that() -> None:
    shown = list(lines_of({"plain": "größer", "two": "a\nb", "escape": "\x1b[31m", "next": "\x9b"}))
    assert shown == ["plain: größer", 'two: "a\\nb"', 'escape: "\\u001b[31m"', 'next: "\N{REPLACEMENT CHARACTER}"']


def test_a_meta_is_shown_as_the_commands_take_it() -> None:
    assert meta_as_json(b'{"id":1}') == {"meta": '{"id":1}', "meta_base64": "eyJpZCI6MX0="}
    assert meta_as_json(b"\xff") == {"meta": "/w==", "meta_base64": "/w=="}
    assert meta_as_json(b"") == {"meta": None, "meta_base64": None}
