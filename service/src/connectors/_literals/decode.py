"""Literals to native Python values.

This runs for every input of every task, so the common kinds come first and nothing is spent on paths until one is
needed for an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from connectors import models
from connectors._literals import binaries
from connectors._literals.declared import column_type, dimensionality, literal_type
from connectors._literals.faults import MAX_DEPTH, Fault, key_step, too_deep
from connectors._literals.structs import dict_from_struct
from connectors._literals.times import datetime_from, timedelta_from
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.flyteidl2 import task as task_v2
from connectors.errors import InvalidRequest

__all__ = ["natives_from_inputs", "natives_from_literal_map", "to_native"]

LiteralMessage: TypeAlias = core_v1.Literal | core_v2.Literal
_Primitive: TypeAlias = core_v1.Primitive | core_v2.Primitive
_Scalar: TypeAlias = core_v1.Scalar | core_v2.Scalar
_Blob: TypeAlias = core_v1.Blob | core_v2.Blob
_Schema: TypeAlias = core_v1.Schema | core_v2.Schema
_Dataset: TypeAlias = core_v1.StructuredDataset | core_v2.StructuredDataset

_NO_VALUE = "a literal with no value, or of a kind that this release does not know"


def to_native(literal: LiteralMessage | None, name: str = "value") -> Any:
    """The value that a literal holds.

    integer → int, float, string → str, boolean → bool, datetime → aware datetime in UTC, duration → timedelta, none →
    None, collection → list, map → dict, union → what it holds, Struct → dict, msgpack → what it holds; blob, schema,
    structured dataset, error, other binary and offloaded literals → their class in :mod:`connectors.models`.

    :param name: of the variable, for the error's text.
    :raises InvalidRequest: for a literal that holds nothing, a time that Python cannot hold, bytes that are no msgpack,
        and nesting deeper than 100, naming the place.
    """
    try:
        return _native(literal, 0)
    except Fault as fault:
        raise InvalidRequest(fault.at(name)) from None


def natives_from_literal_map(message: core_v1.LiteralMap | None, role: str = "input") -> dict[str, Any]:
    """The values of a Flyte 1 map, by variable; an absent map is empty.

    :param role: what the variables are, for the error's text.
    :raises InvalidRequest: as :func:`to_native` does.
    """
    return {} if message is None else _natives(message.literals.items(), role)


def natives_from_inputs(message: task_v2.Inputs | task_v2.Outputs | None, role: str = "input") -> dict[str, Any]:
    """The values of a Flyte 2 list of named literals, by variable; an absent list is empty.

    :param role: what the variables are, for the error's text.
    :raises InvalidRequest: as :func:`to_native` does, and for a variable that comes twice.
    """
    if message is None:
        return {}
    natives = _natives(((each.name, each.value) for each in message.literals), role)
    if len(natives) < len(message.literals):
        twice, _ = Counter(each.name for each in message.literals).most_common(1)[0]
        raise InvalidRequest(f"{role} {twice}: given more than once")
    return natives


def _natives(literals: Iterable[tuple[str, LiteralMessage | None]], role: str) -> dict[str, Any]:
    natives: dict[str, Any] = {}
    for name, literal in literals:
        try:
            natives[name] = _native(literal, 0)
        except Fault as fault:
            raise InvalidRequest(f"{role} {fault.at(name)}") from None
    return natives


def _native(literal: LiteralMessage | None, depth: int) -> Any:
    if literal is None:
        raise Fault(_NO_VALUE)
    if (scalar := literal.scalar) is not None:
        if (primitive := scalar.primitive) is not None:
            return _primitive(primitive)
        return _scalar(scalar, depth)
    if (collection := literal.collection) is not None:
        return _list(collection.literals, depth)
    if (mapping := literal.map) is not None:
        return _dict(mapping.literals, depth)
    if (offloaded := literal.offloaded_metadata) is not None:
        declared = None if offloaded.inferred_type is None else literal_type(offloaded.inferred_type)
        return models.OffloadedLiteral(offloaded.uri, offloaded.size_bytes, declared)
    raise Fault(_NO_VALUE)


def _primitive(primitive: _Primitive) -> Any:
    if (text := primitive.string_value) is not None:
        return text
    if (integer := primitive.integer) is not None:
        return integer
    if (number := primitive.float_value) is not None:
        return number
    if (boolean := primitive.boolean) is not None:
        return boolean
    if (instant := primitive.datetime) is not None:
        return datetime_from(instant.seconds, instant.nanos)
    if (duration := primitive.duration) is not None:
        return timedelta_from(duration.seconds, duration.nanos)
    raise Fault(_NO_VALUE)


def _scalar(scalar: _Scalar, depth: int) -> Any:
    if (binary := scalar.binary) is not None:
        return binaries.unpack(binary.value) if binary.tag == binaries.TAG else models.Binary(binary.value, binary.tag)
    if scalar.none_type is not None:
        return None
    if (union := scalar.union) is not None:
        if depth >= MAX_DEPTH:
            raise too_deep()
        return _native(union.value, depth + 1)
    if (struct := scalar.generic) is not None:
        return dict_from_struct(struct, depth)
    if (dataset := scalar.structured_dataset) is not None:
        return _structured_dataset(dataset)
    if (blob := scalar.blob) is not None:
        return _blob(blob)
    if (schema := scalar.schema) is not None:
        return _schema(schema)
    if (error := scalar.error) is not None:
        return models.ErrorValue(error.message, error.failed_node_id)
    raise Fault(_NO_VALUE)


def _list(literals: Iterable[LiteralMessage], depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise too_deep()
    natives: list[Any] = []
    try:
        for literal in literals:
            natives.append(_native(literal, depth + 1))
    except Fault as fault:
        fault.inside(f"[{len(natives)}]")
        raise
    return natives


def _dict(literals: Any, depth: int) -> dict[str, Any]:
    if depth >= MAX_DEPTH:
        raise too_deep()
    natives: dict[str, Any] = {}
    for key, literal in literals.items():
        try:
            natives[key] = _native(literal, depth + 1)
        except Fault as fault:
            fault.inside(key_step(key))
            raise
    return natives


def _blob(blob: _Blob) -> models.Blob:
    declared = blob.metadata.type if blob.metadata is not None else None
    if declared is None:
        return models.Blob(blob.uri)
    return models.Blob(blob.uri, declared.format, dimensionality(declared.dimensionality))


def _schema(schema: _Schema) -> models.Schema:
    columns = schema.type.columns if schema.type is not None else []
    return models.Schema(schema.uri, {each.name: column_type(each.type).kind for each in columns})


def _structured_dataset(dataset: _Dataset) -> models.StructuredDataset:
    declared = dataset.metadata.structured_dataset_type if dataset.metadata is not None else None
    if declared is None:
        return models.StructuredDataset(dataset.uri)
    columns = {each.name: literal_type(each.literal_type) for each in declared.columns}
    return models.StructuredDataset(dataset.uri, declared.format, columns)
