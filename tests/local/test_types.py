"""Python types as the types of a task's interface."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, Optional

import pytest
from pydantic import BaseModel

from connectors import Blob, LiteralType, Schema, StructuredDataset
from connectors.local import ConnectorTask, literal_type_of


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Order:
    number: int


class Customer(BaseModel):
    name: str


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
