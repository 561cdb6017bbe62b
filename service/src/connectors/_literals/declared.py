"""Declared types: ``LiteralType`` messages to :class:`connectors.models.LiteralType` and back."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal, TypeAlias

from connectors._literals.faults import MAX_DEPTH, Fault, Unencodable
from connectors._literals.plain import checked_text
from connectors._literals.structs import native_to_struct, struct_to_native
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from connectors.errors import InvalidRequest
from connectors.models import LiteralType

__all__ = [
    "TypeMessage",
    "blob_type",
    "column_type",
    "dimensionality",
    "literal_type",
    "literal_type_message",
    "schema_type",
    "structured_type",
]

TypeMessage: TypeAlias = core_v1.LiteralType | core_v2.LiteralType

_SIMPLE = ("none", "integer", "float", "string", "boolean", "datetime", "duration", "binary", "error", "struct")
"""By the number of ``SimpleType``, the same in both protocols."""

_PLAIN = tuple(LiteralType(kind) for kind in _SIMPLE)
"""Most variables' types: to make one takes 5 µs."""

_COLUMN_KINDS = ("integer", "float", "string", "boolean", "datetime", "duration")
"""By the number of ``SchemaColumnType``."""


def literal_type(message: TypeMessage | None) -> LiteralType:
    """The declared type. An absent one, and one of a kind that this release does not know, has the kind ``unknown``.

    :raises InvalidRequest: for types nested more than 100 levels deep.
    """
    return _declared(message, 0)


def literal_type_message(declared: LiteralType, core: ModuleType) -> Any:
    """The message of a type: ``core.LiteralType``. What ``literal_type`` reads from a message, it writes back.

    :param core: ``flyteidl.core`` or ``flyteidl2.core`` of the generated messages.
    :raises Unencodable: for a type that was put together wrongly, such as a schema's column of an unknown kind.
    """
    try:
        return _message(declared, core)
    except Fault as fault:
        raise Unencodable(fault.at("declared type")) from None


def _message(declared: LiteralType, core: ModuleType) -> Any:
    message = core.LiteralType()
    match declared.kind:
        case kind if kind in _SIMPLE:
            message.simple = core.SimpleType(_SIMPLE.index(kind))
        case "collection":
            message.collection_type = _message(declared.element or _UNKNOWN, core)
        case "map":
            message.map_value_type = _message(declared.element or _UNKNOWN, core)
        case "union":
            message.union_type = core.UnionType(variants=[_message(each, core) for each in declared.variants])
        case "enum":
            message.enum_type = core.EnumType(values=list(declared.values))
        case "blob":
            message.blob = blob_type(declared.format, declared.dimensionality, core)
        case "schema":
            message.schema = schema_type({name: each.kind for name, each in declared.columns.items()}, core)
        case "structured_dataset":
            message.structured_dataset_type = structured_type(declared.columns, declared.format, core)
    if declared.tag or declared.fields:
        fields = {name: _message(each, core) for name, each in declared.fields.items()}
        message.structure = core.TypeStructure(tag=declared.tag, dataclass_type=fields)
    if declared.metadata:
        message.metadata = native_to_struct(declared.metadata, "metadata")
    if declared.annotations:
        message.annotation = core.TypeAnnotation(annotations=native_to_struct(declared.annotations, "annotations"))
    return message


def blob_type(form: str, dimensions: str, core: ModuleType) -> Any:
    """``core.BlobType`` of a format and ``single`` or ``multipart``."""
    numbers = core.BlobTypeBlobDimensionality
    number = numbers.MULTIPART if dimensions == "multipart" else numbers.SINGLE
    return core.BlobType(format=checked_text(form), dimensionality=number)


def schema_type(columns: Any, core: ModuleType) -> Any:
    """``core.SchemaType`` of a mapping from column names to integer, float, string, boolean, datetime or duration.

    :raises Fault: for another word.
    """
    column, kind = core.SchemaTypeSchemaColumn, core.SchemaTypeSchemaColumnSchemaColumnType
    message = core.SchemaType()
    for name, word in columns.items():
        if word not in _COLUMN_KINDS:
            raise Fault(f"a schema's column of a kind that is none of {', '.join(_COLUMN_KINDS)}")
        message.columns.append(column(name=checked_text(name), type=kind(_COLUMN_KINDS.index(word))))
    return message


def structured_type(columns: Any, form: str, core: ModuleType) -> Any:
    """``core.StructuredDatasetType`` of a mapping from column names to types."""
    column = core.StructuredDatasetTypeDatasetColumn
    typed = [column(name=checked_text(name), literal_type=_message(each, core)) for name, each in columns.items()]
    return core.StructuredDatasetType(columns=typed, format=checked_text(form))


_UNKNOWN = LiteralType("unknown")


def _declared(message: TypeMessage | None, depth: int) -> LiteralType:
    if message is None:
        return _UNKNOWN
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"A declared type is nested more than {MAX_DEPTH} levels deep.")
    noted = message.structure, message.metadata, message.annotation
    if message.simple is not None and noted == (None, None, None) and 0 <= message.simple < len(_SIMPLE):
        return _PLAIN[message.simple]
    known = _kind(message, depth + 1)
    if (structure := message.structure) is not None:
        known["tag"] = structure.tag
        known["fields"] = {name: _declared(each, depth + 1) for name, each in structure.dataclass_type.items()}
    if message.metadata is not None:
        known["metadata"] = struct_to_native(message.metadata, "metadata of a declared type")
    if message.annotation is not None:
        known["annotations"] = struct_to_native(message.annotation.annotations, "annotations of a declared type")
    return LiteralType(**known)


def _kind(message: TypeMessage, depth: int) -> dict[str, Any]:
    if message.simple is not None:
        return {"kind": _SIMPLE[message.simple] if 0 <= message.simple < len(_SIMPLE) else "unknown"}
    if message.collection_type is not None:
        return {"kind": "collection", "element": _declared(message.collection_type, depth)}
    if message.map_value_type is not None:
        return {"kind": "map", "element": _declared(message.map_value_type, depth)}
    if message.union_type is not None:
        return {"kind": "union", "variants": tuple(_declared(each, depth) for each in message.union_type.variants)}
    if message.enum_type is not None:
        return {"kind": "enum", "values": tuple(message.enum_type.values)}
    if (blob := message.blob) is not None:
        return {"kind": "blob", "format": blob.format, "dimensionality": dimensionality(blob.dimensionality)}
    if message.schema is not None:
        return {"kind": "schema", "columns": {each.name: column_type(each.type) for each in message.schema.columns}}
    if (dataset := message.structured_dataset_type) is not None:
        columns = {each.name: _declared(each.literal_type, depth) for each in dataset.columns}
        return {"kind": "structured_dataset", "format": dataset.format, "columns": columns}
    return {"kind": "unknown"}


def dimensionality(number: int) -> Literal["single", "multipart"]:
    """The word for a number of ``BlobDimensionality``."""
    return "multipart" if number == 1 else "single"


def column_type(number: int) -> LiteralType:
    """The type of a schema's column, by the number of ``SchemaColumnType``."""
    return LiteralType(_COLUMN_KINDS[number] if 0 <= number < len(_COLUMN_KINDS) else "unknown")
