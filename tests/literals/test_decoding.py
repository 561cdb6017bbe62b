"""Literals to values: what arrives incomplete, packed wrongly or nested too deep, and what the errors say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import models
from connectors._literals import natives_from_inputs, natives_from_literal_map, to_native
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.flyteidl2 import task as task_v2
from connectors._proto.google.protobuf import ListValue, Struct, Value
from connectors.errors import InvalidRequest
from tests.literals.protocols import Protocol

NO_VALUE = "a literal with no value, or of a kind that this release does not know"


def _packed(protocol: Protocol, data: bytes, tag: str = "msgpack") -> Any:
    return protocol.ours(protocol.scalar(binary=protocol.literals.Binary(value=data, tag=tag)))


def test_a_literal_that_holds_nothing_is_an_error(protocol: Protocol) -> None:
    literals = protocol.literals
    for theirs in (
        literals.Literal(),
        literals.Literal(hash="only a hash"),
        protocol.scalar(),
        protocol.primitive(),
        protocol.scalar(union=literals.Union()),
        protocol.scalar(union=literals.Union(value=literals.Literal())),
    ):
        with pytest.raises(InvalidRequest, match=f"^x: {NO_VALUE}$"):
            to_native(protocol.ours(theirs), "x")


def test_a_kind_from_a_later_release_is_an_error(protocol: Protocol) -> None:
    later = protocol.core.Literal.parse(b"\xa2\x06\x02\x08\x01")  # field 100, a message
    with pytest.raises(InvalidRequest, match=NO_VALUE):
        to_native(later)


def test_an_empty_literal_inside_a_value_is_named_by_its_place(protocol: Protocol) -> None:
    literals = protocol.literals
    inner = literals.LiteralMap(literals={"b c": literals.Literal()})
    items = [protocol.primitive(integer=1), literals.Literal(map=inner)]
    theirs = literals.Literal(collection=literals.LiteralCollection(literals=items))
    with pytest.raises(InvalidRequest) as caught:
        to_native(protocol.ours(theirs), "rows")
    assert str(caught.value) == f"rows[1]['b c']: {NO_VALUE}"


def test_the_error_of_inputs_names_the_input() -> None:
    v1 = core_v1.LiteralMap(literals={"query": core_v1.Literal()})
    with pytest.raises(InvalidRequest, match=f"^input query: {NO_VALUE}$"):
        natives_from_literal_map(v1)
    for value in (core_v2.Literal(), None):
        v2 = task_v2.Inputs(literals=[task_v2.NamedLiteral(name="query", value=value)])
        with pytest.raises(InvalidRequest, match=f"^input query: {NO_VALUE}$"):
            natives_from_inputs(v2)


def test_absent_inputs_are_none_at_all() -> None:
    assert natives_from_literal_map(None) == {}
    assert natives_from_inputs(None) == {}


def test_an_input_that_comes_twice_is_an_error() -> None:
    one = core_v2.Literal(scalar=core_v2.Scalar(primitive=core_v2.Primitive(integer=1)))
    both = [task_v2.NamedLiteral(name="a", value=one), task_v2.NamedLiteral(name="a", value=one)]
    with pytest.raises(InvalidRequest, match=r"^input a: given more than once$"):
        natives_from_inputs(task_v2.Inputs(literals=both))


class Compared(str):
    """A name that counts how often names are compared."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_which_input_comes_twice_is_found_without_comparing_each_with_each() -> None:
    one = core_v2.Literal(scalar=core_v2.Scalar(primitive=core_v2.Primitive(integer=1)))
    names = [Compared(number) for number in (*range(1_000), 999)]
    Compared.times = 0
    with pytest.raises(InvalidRequest, match=r"^input 999: given more than once$"):
        natives_from_inputs(task_v2.Inputs(literals=[task_v2.NamedLiteral(name=each, value=one) for each in names]))
    assert Compared.times < 20 * len(names)


def test_zero_values_are_values(protocol: Protocol) -> None:
    zeros = {"integer": 0, "float_value": 0.0, "string_value": "", "boolean": False}
    assert [to_native(protocol.ours(protocol.primitive(**{kind: zero}))) for kind, zero in zeros.items()] == [
        0,
        0.0,
        "",
        False,
    ]
    assert to_native(protocol.ours(protocol.primitive(datetime={}))) == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_blob_of_a_dimensionality_from_a_later_release_is_a_single_one(protocol: Protocol) -> None:
    metadata = protocol.literals.BlobMetadata(type={"dimensionality": 7})
    theirs = protocol.scalar(blob=protocol.literals.Blob(metadata=metadata, uri="s3://b/k"))
    assert to_native(protocol.ours(theirs)) == models.Blob("s3://b/k", dimensionality="single")


def test_references_without_their_metadata_are_read(protocol: Protocol) -> None:
    literals = protocol.literals
    assert to_native(protocol.ours(protocol.scalar(blob=literals.Blob(uri="s3://b/k")))) == models.Blob("s3://b/k")
    assert to_native(protocol.ours(protocol.scalar(schema=literals.Schema(uri="s3://b/k")))) == models.Schema(
        "s3://b/k"
    )
    dataset = protocol.scalar(structured_dataset=literals.StructuredDataset(uri="bq://p:d.t"))
    assert to_native(protocol.ours(dataset)) == models.StructuredDataset("bq://p:d.t")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x82\xa1a\x01",  # a map that ends early
        b"\x01\x02",  # two values
        b"\xc1",  # never used by msgpack
        b"\xa1\xff",  # text that is not UTF-8
        b"\x81\x90\x01",  # a list as a key
        b"\xdd\xff\xff\xff\xff",  # a list that says it has 4 billion items
        b"\x91" * 5_000 + b"\x01",
    ],
)
def test_bytes_tagged_msgpack_that_are_none_are_an_error(protocol: Protocol, data: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^value: bytes tagged msgpack that are not one msgpack value$") as caught:
        to_native(_packed(protocol, data))
    assert caught.value.__suppress_context__  # the library's text may quote the bytes


@given(data=st.binary(max_size=40))
def test_any_bytes_tagged_msgpack_are_a_value_or_a_clear_error(protocol: Protocol, data: bytes) -> None:
    try:
        to_native(_packed(protocol, data))
    except InvalidRequest as error:
        assert str(error).startswith("value")  # noqa: PT017 - a value is the other good end


def test_a_msgpack_extension_is_an_error(protocol: Protocol) -> None:
    with pytest.raises(InvalidRequest, match=r"^value: a msgpack extension of type 5$"):
        to_native(_packed(protocol, msgpack.packb({"a": [msgpack.ExtType(5, b"xxxx")]})))


def test_a_msgpack_timestamp_is_an_aware_datetime_rounded_like_any_other(protocol: Protocol) -> None:
    data = msgpack.packb([{"at": msgpack.Timestamp(1, 1_500)}])
    assert to_native(_packed(protocol, data)) == [{"at": datetime(1970, 1, 1, 0, 0, 1, 2, tzinfo=UTC)}]


def test_a_msgpack_timestamp_out_of_range_is_named_by_its_place(protocol: Protocol) -> None:
    data = msgpack.packb({"a": [0, msgpack.Timestamp(2**60, 0)]})
    with pytest.raises(InvalidRequest, match=r"^value\.a\[1\]: a timestamp outside the years 1 to 9999$"):
        to_native(_packed(protocol, data))


def test_msgpack_nested_100_levels_is_read_and_one_more_is_an_error(protocol: Protocol) -> None:
    assert to_native(_packed(protocol, b"\x91" * 99 + b"\x90"))
    with pytest.raises(InvalidRequest, match="nested more than 100 levels deep"):
        to_native(_packed(protocol, b"\x91" * 100 + b"\x90"))


def test_bytes_under_another_tag_stay_as_they_are(protocol: Protocol) -> None:
    assert to_native(_packed(protocol, b"\x80\x05", "pickle")) == models.Binary(b"\x80\x05", "pickle")


@pytest.mark.parametrize("shape", ["collection", "map", "union", "generic"])
def test_a_literal_nested_too_deep_is_an_error_and_no_recursion(protocol: Protocol, shape: str) -> None:
    core = protocol.core
    literal = core.Literal(scalar=core.Scalar(none_type=core.Void()))
    for _ in range(101):
        if shape == "collection":
            literal = core.Literal(collection=core.LiteralCollection(literals=[literal]))
        elif shape == "map":
            literal = core.Literal(map=core.LiteralMap(literals={"a": literal}))
        else:
            literal = core.Literal(scalar=core.Scalar(union=core.Union(value=literal)))
    if shape == "generic":
        literal = _struct_of_101_levels(protocol)
    with pytest.raises(InvalidRequest, match="nested more than 100 levels deep"):
        to_native(literal)


def _struct_of_101_levels(protocol: Protocol) -> Any:
    value = Value(string_value="x")
    for _ in range(100):
        value = Value(list_value=ListValue(values=[value]))
    return protocol.core.Literal(scalar=protocol.core.Scalar(generic=Struct(fields={"a": value})))
