"""Python types as the types of a task's interface."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Literal, Optional

import pytest
from pydantic import BaseModel

from connectors import Blob, LiteralType, Schema, StructuredDataset
from connectors.local import Calls, ConnectorTask, literal_type_of, run_task


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Order:
    number: int


class Customer(BaseModel):
    name: str


AHEAD = timezone(timedelta(hours=2))
INTEGER, TEXT, NONE = LiteralType("integer"), LiteralType("string"), LiteralType("none")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, INTEGER),
        (str, TEXT),
        (bool, LiteralType("boolean")),
        (float, LiteralType("float")),
        (None, NONE),
        (bytes, LiteralType("binary")),
        (datetime, LiteralType("datetime")),
        (date, LiteralType("datetime")),
        (timedelta, LiteralType("duration")),
        (list[int], LiteralType("collection", element=INTEGER)),
        (list[list[str]], LiteralType("collection", element=LiteralType("collection", element=TEXT))),
        (dict[str, int], LiteralType("map", element=INTEGER)),
        (dict[str, Any], LiteralType("struct")),
        (dict, LiteralType("struct")),
        (Any, LiteralType("unknown")),
        (int | None, LiteralType("union", variants=(INTEGER, NONE))),
        (Optional[str], LiteralType("union", variants=(TEXT, NONE))),  # noqa: UP045 - it is another object
        (Size, LiteralType("enum", values=("small", "large"))),
        (Literal["a", "b"], LiteralType("enum", values=("a", "b"))),
        (Order, LiteralType("struct")),
        (Customer, LiteralType("struct")),
        (Blob, LiteralType("blob")),
        (Schema, LiteralType("schema")),
        (StructuredDataset, LiteralType("structured_dataset")),
        (LiteralType("blob", format="csv"), LiteralType("blob", format="csv")),
    ],
    ids=str,
)
def test_a_type_is_declared(kind: Any, expected: LiteralType) -> None:
    assert literal_type_of(kind) == expected


@pytest.mark.parametrize("kind", [object, dict[int, str], tuple[int, str], Literal[1], complex, "int"], ids=str)
def test_a_type_that_flyte_has_not_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="no type of a task's input or output"):
        literal_type_of(kind)


def test_the_error_names_the_variable() -> None:
    with pytest.raises(TypeError, match="output table: "):
        ConnectorTask("t", "any", outputs={"table": object})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "value", "given_back"),
    [
        (int, 7, 7),
        (float, 2, 2.0),
        (bool, True, True),
        (bytes, b"\x00\xff", b"\x00\xff"),
        (datetime, datetime(2024, 5, 17, 9, 30, tzinfo=AHEAD), datetime(2024, 5, 17, 7, 30, tzinfo=UTC)),
        (timedelta, timedelta(seconds=1.5), timedelta(seconds=1.5)),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (dict, {"a": [1, None]}, {"a": [1, None]}),
        (Any, {"a": 1}, {"a": 1}),
        (int | str, "5", "5"),
        (int | None, None, None),
        (Size, Size.LARGE, "large"),
        (Literal["a", "b"], "b", "b"),
        (Order, Order(7), {"number": 7}),
        (Blob, Blob("s3://bucket/a"), Blob("s3://bucket/a")),
        (StructuredDataset, StructuredDataset("bq://p:d.t"), StructuredDataset("bq://p:d.t")),
    ],
    ids=str,
)
async def test_a_value_of_each_type_reaches_the_connector_and_comes_back(
    via: Calls, kind: Any, value: Any, given_back: Any
) -> None:
    task = ConnectorTask("e", "echo", inputs={"v": kind}, outputs={"o0": kind}).connector_task()
    outcome = await run_task(task, {"v": value}, via=via, poll_interval=0.02)
    assert (outcome.outputs, outcome.message) == ({"o0": given_back}, "")
