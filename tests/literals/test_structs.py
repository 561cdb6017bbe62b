"""Struct and dict, against protobuf's own conversions."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from connectors._literals import Unencodable, native_to_struct, struct_to_native, to_native
from connectors._proto.google.protobuf import Struct, Value
from connectors.errors import InvalidRequest
from tests.literals.protocols import Protocol
from tests.literals.typed_values import JSON_LIKE, TEXT, same

OBJECTS = st.dictionaries(TEXT, JSON_LIKE, max_size=4)


class Color(enum.Enum):
    RED = "red"


@dataclass
class Stats:
    color: Color
    at: datetime
    took: timedelta


def _whole(value: Any) -> Any:
    """What a Struct makes of JSON-like data: whole floats are ints."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value


def _read(theirs: struct_pb2.Struct) -> dict[str, Any]:
    return struct_to_native(Struct.parse(theirs.SerializeToString()))


@given(value=OBJECTS)
def test_a_dict_is_written_as_protobufs_own_runtime_writes_it(value: dict[str, Any]) -> None:
    theirs = struct_pb2.Struct()
    theirs.update(value)
    assert struct_pb2.Struct.FromString(bytes(native_to_struct(value))) == theirs


@given(value=OBJECTS)
def test_a_struct_is_read_as_the_json_that_protobuf_makes_of_it(value: dict[str, Any]) -> None:
    theirs = json_format.ParseDict(value, struct_pb2.Struct())
    assert same(_read(theirs), _whole(value))


@pytest.mark.parametrize("number", [0, 1, -1, 2**53, -(2**53)])
def test_whole_numbers_that_a_double_counts_exactly_are_ints(number: int) -> None:
    theirs = struct_pb2.Struct()
    theirs["n"] = float(number)
    assert same(_read(theirs), {"n": number})


@pytest.mark.parametrize("number", [2.0**53 + 2, -(2.0**53) - 2, 1e300, 0.5, float("inf")])
def test_other_numbers_stay_floats(number: float) -> None:
    theirs = struct_pb2.Struct()
    theirs["n"] = number
    assert same(_read(theirs), {"n": number})


def test_an_absent_struct_is_an_empty_dict() -> None:
    assert struct_to_native(None) == {}


def test_a_generic_literal_is_a_dict_with_ints(protocol: Protocol) -> None:
    theirs = struct_pb2.Struct()
    theirs.update({"a": [1, {"b": 2.5}], "c": None})
    assert same(to_native(protocol.ours(protocol.scalar(generic=theirs))), {"a": [1, {"b": 2.5}], "c": None})


def test_dataclasses_enums_and_times_become_json_like() -> None:
    stats = Stats(Color.RED, datetime(2024, 1, 2, tzinfo=UTC), timedelta(seconds=1.5))
    written = native_to_struct(MappingProxyType({"stats": stats, "pair": (1, 2)}))
    assert struct_to_native(written) == {
        "stats": {"color": "red", "at": "2024-01-02T00:00:00+00:00", "took": 1.5},
        "pair": [1, 2],
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [0, {"b": float("nan")}]}, "custom_info.a[1].b: a number that is not finite"),
        ({"a": float("-inf")}, "custom_info.a: a number that is not finite"),
        ({"a": 2**53 + 1}, "custom_info.a: an int beyond 2**53"),
        ({"a": {1: "x"}}, "custom_info.a[1]: a key of type int, where text is needed"),
        ({"with space": {None: 1}}, "custom_info['with space'][None]: a key of type None"),
        ({"a": b"x"}, "custom_info.a: no literal can hold a value of type bytes"),
        ({"a": [{1, 2}]}, "custom_info.a[0]: no literal can hold a value of type set"),
        ({"a": "\ud800"}, "custom_info.a: text that is not valid Unicode"),
        ({"\ud800": 1}, "text that is not valid Unicode"),
    ],
)
def test_what_a_struct_cannot_hold_is_an_error_that_names_the_place(value: Mapping[str, Any], text: str) -> None:
    with pytest.raises(Unencodable) as caught:
        native_to_struct(value)
    assert text in str(caught.value)


def test_a_dict_that_contains_itself_is_an_error() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(Unencodable, match="nested more than 100 levels deep"):
        native_to_struct(endless)


def test_a_struct_nested_100_levels_is_read_and_one_more_is_an_error() -> None:
    nested: Any = 1
    for _ in range(100):
        nested = {"a": nested}
    assert struct_to_native(native_to_struct(nested)) == nested
    message = Struct(fields={"a": Value(struct_value=native_to_struct(nested))})
    with pytest.raises(InvalidRequest, match="nested more than 100 levels deep"):
        struct_to_native(message)


def test_a_structs_value_of_no_kind_is_an_error_that_names_the_place() -> None:
    items = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=1), struct_pb2.Value()])
    theirs = struct_pb2.Struct(fields={"a": struct_pb2.Value(list_value=items)})
    with pytest.raises(InvalidRequest, match=r"^custom\.a\[1\]: a Struct's value of no kind$"):
        _read(theirs)
