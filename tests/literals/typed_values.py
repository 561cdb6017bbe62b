"""Hypothesis strategies: a declared type together with a value of it, and the callers' literal of both.

``reference`` builds that literal with the callers' own classes and protobuf's own conversions, so that our encoder and
decoder are held against something that is not ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
from hypothesis import strategies as st

from connectors import models
from connectors.models import LiteralType
from tests.literals.protocols import Protocol

Typed = tuple[LiteralType, Any]

TEXT = st.text(max_size=12)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
DATETIMES = st.datetimes(timezones=st.just(UTC))
DURATIONS = st.timedeltas(timedelta(days=-3_652_500), timedelta(days=3_652_500))
URIS = TEXT.map(lambda text: f"s3://bucket/{text}")
FORMATS = st.sampled_from(["", "csv", "parquet"])
COLUMN_KINDS = st.sampled_from(["integer", "float", "string", "boolean", "datetime", "duration"])

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PACKABLE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FLOATS | TEXT | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | INTEGERS, inner, max_size=3),
    max_leaves=8,
)


def _blobs() -> st.SearchStrategy[Typed]:
    dimensions = st.sampled_from(["single", "multipart"])
    blobs = st.builds(models.Blob, URIS, FORMATS, dimensions)
    return blobs.map(lambda blob: (LiteralType("blob", format=blob.format, dimensionality=blob.dimensionality), blob))


def _datasets() -> st.SearchStrategy[Typed]:
    columns = st.dictionaries(TEXT, COLUMN_KINDS.map(LiteralType), max_size=3)
    datasets = st.builds(models.StructuredDataset, URIS, FORMATS, columns)
    return datasets.map(
        lambda each: (LiteralType("structured_dataset", format=each.format, columns=each.columns), each)
    )


def _schemas() -> st.SearchStrategy[Typed]:
    schemas = st.builds(models.Schema, URIS, st.dictionaries(TEXT, COLUMN_KINDS, max_size=3))
    return schemas.map(
        lambda each: (LiteralType("schema", columns={k: LiteralType(v) for k, v in each.columns.items()}), each)
    )


def _of(kind: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Typed]:
    return values.map(lambda value: (LiteralType(kind), value))


def _enums() -> st.SearchStrategy[Typed]:
    names = st.lists(TEXT, min_size=1, max_size=4, unique=True)
    return names.flatmap(
        lambda all_: st.sampled_from(all_).map(lambda one: (LiteralType("enum", values=tuple(all_)), one))
    )


BINARIES = st.builds(models.Binary, st.binary(max_size=20), TEXT.filter(lambda tag: tag != "msgpack"))

SCALARS = st.one_of(
    _of("none", st.none()),
    _of("integer", INTEGERS),
    _of("float", FLOATS),
    _of("string", TEXT),
    _of("boolean", st.booleans()),
    _of("datetime", DATETIMES),
    _of("duration", DURATIONS),
    _of("struct", st.dictionaries(TEXT | INTEGERS, PACKABLE, max_size=3)),
    _of("binary", BINARIES),
    _of("error", st.builds(models.ErrorValue, TEXT, TEXT)),
    _enums(),
    _blobs(),
    _datasets(),
    _schemas(),
)


def _collections(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """A collection or a map repeats one value, a union wraps one: the element's type is then known."""
    lists = st.tuples(inner, st.integers(0, 3)).map(
        lambda pair: (LiteralType("collection", element=pair[0][0]), [pair[0][1]] * pair[1])
    )
    maps = st.tuples(inner, st.lists(TEXT, max_size=3, unique=True)).map(
        lambda pair: (LiteralType("map", element=pair[0][0]), dict.fromkeys(pair[1], pair[0][1]))
    )
    unions = inner.map(
        lambda typed: (LiteralType("union", variants=(_NEVER, LiteralType("union", variants=(typed[0],)))), typed[1])
    )
    return lists | maps | unions


_NEVER = LiteralType("enum", values=())
"""A variant that no value fits: it is passed over."""

TYPED_VALUES = st.recursive(SCALARS, _collections, max_leaves=4)


def reference(expected: LiteralType, value: Any, protocol: Protocol) -> Any:
    """The callers' literal of a value of that type."""
    literals = protocol.literals
    match expected.kind:
        case "collection":
            assert expected.element is not None
            items = [reference(expected.element, item, protocol) for item in value]
            return literals.Literal(collection=literals.LiteralCollection(literals=items))
        case "map":
            assert expected.element is not None
            by_key = {key: reference(expected.element, item, protocol) for key, item in value.items()}
            return literals.Literal(map=literals.LiteralMap(literals=by_key))
        case "union":
            variant = expected.variants[-1]
            inner = literals.Union(value=reference(variant, value, protocol), type=type_message(variant, protocol))
            return protocol.scalar(union=inner)
        case kind:
            return _SCALAR_REFERENCES[kind](value, protocol)


def type_message(expected: LiteralType, protocol: Protocol) -> Any:
    """The callers' message of a declared type."""
    types = protocol.types
    match expected.kind:
        case "collection":
            assert expected.element is not None
            return types.LiteralType(collection_type=type_message(expected.element, protocol))
        case "map":
            assert expected.element is not None
            return types.LiteralType(map_value_type=type_message(expected.element, protocol))
        case "union":
            variants = [type_message(each, protocol) for each in expected.variants]
            return types.LiteralType(union_type=types.UnionType(variants=variants))
        case "enum":
            return types.LiteralType(enum_type=types.EnumType(values=expected.values))
        case "blob":
            return types.LiteralType(blob=_blob_type(expected.format, expected.dimensionality, protocol))
        case "schema":
            return types.LiteralType(schema=_schema_type(_kinds(expected.columns), protocol))
        case "structured_dataset":
            return types.LiteralType(structured_dataset_type=_dataset_type(expected, protocol))
        case kind:
            return types.LiteralType(simple=types.SimpleType.Value(kind.upper()))


def _kinds(columns: Mapping[str, LiteralType]) -> dict[str, str]:
    return {name: each.kind for name, each in columns.items()}


def _blob_type(form: str, dimensions: str, protocol: Protocol) -> Any:
    blob_type = protocol.types.BlobType
    return blob_type(format=form, dimensionality=blob_type.BlobDimensionality.Value(dimensions.upper()))


def _schema_type(columns: Mapping[str, str], protocol: Protocol) -> Any:
    schema_type = protocol.types.SchemaType
    column = schema_type.SchemaColumn
    return schema_type(
        columns=[column(name=name, type=column.SchemaColumnType.Value(kind.upper())) for name, kind in columns.items()]
    )


def _dataset_type(dataset: LiteralType | models.StructuredDataset, protocol: Protocol) -> Any:
    dataset_type = protocol.types.StructuredDatasetType
    columns = [
        dataset_type.DatasetColumn(name=name, literal_type=type_message(each, protocol))
        for name, each in dataset.columns.items()
    ]
    return dataset_type(columns=columns, format=dataset.format)


def _datetime(value: datetime, protocol: Protocol) -> Any:
    literal = protocol.primitive()
    literal.scalar.primitive.datetime.FromDatetime(value)
    return literal


def _duration(value: timedelta, protocol: Protocol) -> Any:
    literal = protocol.primitive()
    literal.scalar.primitive.duration.FromTimedelta(value)
    return literal


def _binary(value: models.Binary, protocol: Protocol) -> Any:
    return protocol.scalar(binary=protocol.literals.Binary(value=value.value, tag=value.tag))


def _packed(value: Any, protocol: Protocol) -> Any:
    return _binary(models.Binary(msgpack.packb(value), "msgpack"), protocol)


def _blob(value: models.Blob, protocol: Protocol) -> Any:
    literals = protocol.literals
    metadata = literals.BlobMetadata(type=_blob_type(value.format, value.dimensionality, protocol))
    return protocol.scalar(blob=literals.Blob(metadata=metadata, uri=value.uri))


def _schema(value: models.Schema, protocol: Protocol) -> Any:
    return protocol.scalar(schema=protocol.literals.Schema(uri=value.uri, type=_schema_type(value.columns, protocol)))


def _dataset(value: models.StructuredDataset, protocol: Protocol) -> Any:
    literals = protocol.literals
    metadata = literals.StructuredDatasetMetadata(structured_dataset_type=_dataset_type(value, protocol))
    return protocol.scalar(structured_dataset=literals.StructuredDataset(uri=value.uri, metadata=metadata))


def _error(value: models.ErrorValue, protocol: Protocol) -> Any:
    return protocol.scalar(error=protocol.types.Error(failed_node_id=value.failed_node_id, message=value.message))


_SCALAR_REFERENCES: dict[str, Any] = {
    "none": lambda _, protocol: protocol.scalar(none_type=protocol.literals.Void()),
    "integer": lambda value, protocol: protocol.primitive(integer=value),
    "float": lambda value, protocol: protocol.primitive(float_value=value),
    "string": lambda value, protocol: protocol.primitive(string_value=value),
    "enum": lambda value, protocol: protocol.primitive(string_value=value),
    "boolean": lambda value, protocol: protocol.primitive(boolean=value),
    "datetime": _datetime,
    "duration": _duration,
    "struct": _packed,
    "binary": _binary,
    "blob": _blob,
    "schema": _schema,
    "structured_dataset": _dataset,
    "error": _error,
}


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, at every level: 1, 1.0 and True are three values, and NaN is itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(same(one, other) for one, other in zip(left, right, strict=True))
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)
