"""Declared types to our model and back, against the callers' own message classes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from connectors._literals import Unencodable, literal_type, literal_type_message
from connectors.errors import InvalidRequest
from connectors.models import LiteralType
from tests.literals.protocols import Protocol
from tests.literals.typed_values import COLUMN_KINDS, FORMATS, TEXT, type_message

SIMPLE = st.sampled_from(
    ["none", "integer", "float", "string", "boolean", "datetime", "duration", "binary", "error", "struct"]
)


def _nested(inner: st.SearchStrategy[LiteralType]) -> st.SearchStrategy[LiteralType]:
    columns = st.dictionaries(TEXT, inner, max_size=3)
    return st.one_of(
        inner.map(lambda each: LiteralType("collection", element=each)),
        inner.map(lambda each: LiteralType("map", element=each)),
        st.lists(inner, max_size=3).map(lambda all_: LiteralType("union", variants=tuple(all_))),
        st.builds(LiteralType, st.just("structured_dataset"), format=FORMATS, columns=columns),
    )


LEAVES = st.one_of(
    SIMPLE.map(LiteralType),
    st.lists(TEXT, max_size=3).map(lambda all_: LiteralType("enum", values=tuple(all_))),
    st.builds(LiteralType, st.just("blob"), format=FORMATS, dimensionality=st.sampled_from(["single", "multipart"])),
    st.builds(LiteralType, st.just("schema"), columns=st.dictionaries(TEXT, COLUMN_KINDS.map(LiteralType), max_size=3)),
)
TYPES = st.recursive(LEAVES, _nested, max_leaves=6)


def _read(theirs: Any, protocol: Protocol) -> LiteralType:
    return literal_type(protocol.core.LiteralType.parse(theirs.SerializeToString()))


@given(declared=TYPES)
def test_a_callers_type_is_read_as_it_was_declared(protocol: Protocol, declared: LiteralType) -> None:
    assert _read(type_message(declared, protocol), protocol) == declared


@given(declared=TYPES)
def test_a_type_is_written_as_the_callers_classes_write_it(protocol: Protocol, declared: LiteralType) -> None:
    written = protocol.types.LiteralType.FromString(bytes(literal_type_message(declared, protocol.core)))
    assert written == type_message(declared, protocol)


@given(tag=TEXT, title=TEXT, fields=st.dictionaries(TEXT, TYPES, max_size=3))
def test_a_dataclass_keeps_its_schema_its_annotations_its_fields_and_its_tag(
    protocol: Protocol, tag: str, title: str, fields: dict[str, LiteralType]
) -> None:
    schema, notes = struct_pb2.Struct(), struct_pb2.Struct()
    schema.update({"type": "object", "title": title, "minimum": 1})
    notes.update({"cache": {"format": "msgpack"}})
    types = protocol.types
    theirs = types.LiteralType(
        simple=types.STRUCT,
        metadata=schema,
        annotation=types.TypeAnnotation(annotations=notes),
        structure=types.TypeStructure(
            tag=tag, dataclass_type={name: type_message(each, protocol) for name, each in fields.items()}
        ),
    )
    read = _read(theirs, protocol)
    assert (read.kind, read.tag, read.fields) == ("struct", tag, fields)
    assert read.metadata == {"type": "object", "title": title, "minimum": 1}
    assert read.annotations == {"cache": {"format": "msgpack"}}
    if tag or fields:
        written = types.LiteralType.FromString(bytes(literal_type_message(read, protocol.core)))
        assert written == theirs


def test_a_type_that_is_absent_or_says_nothing_is_unknown(protocol: Protocol) -> None:
    assert literal_type(None).kind == "unknown"
    assert _read(protocol.types.LiteralType(), protocol).kind == "unknown"


def test_a_simple_type_from_a_later_release_is_unknown(protocol: Protocol) -> None:
    assert _read(protocol.types.LiteralType(simple=99), protocol).kind == "unknown"


def test_a_schemas_column_from_a_later_release_is_unknown(protocol: Protocol) -> None:
    schema = protocol.types.SchemaType(columns=[{"name": "a", "type": 99}])
    assert _read(protocol.types.LiteralType(schema=schema), protocol).columns == {"a": LiteralType("unknown")}


def test_a_schemas_column_of_an_unknown_kind_cannot_be_written(protocol: Protocol) -> None:
    declared = LiteralType("schema", columns={"a": LiteralType("struct")})
    with pytest.raises(Unencodable, match="a schema's column of a kind that is none of integer, float"):
        literal_type_message(declared, protocol.core)


def test_a_type_nested_too_deep_is_an_error_and_no_recursion(protocol: Protocol) -> None:
    message = protocol.core.LiteralType(simple=protocol.core.SimpleType.INTEGER)
    for _ in range(400):
        message = protocol.core.LiteralType(collection_type=message)
    with pytest.raises(InvalidRequest, match="A declared type is nested more than 100 levels deep"):
        literal_type(message)
