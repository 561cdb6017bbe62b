"""Native Python values to literals, with a declared type or without one.

Without a declared type the literal is what Flyte's SDKs give the type of the value: a list is a collection, a dict or a
dataclass is msgpack, a datetime without an offset is UTC. ``bytes`` have no literal there (the SDKs pickle them, which
this project never does): they become a msgpack value, which keeps them apart from text.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import date, timedelta
from types import ModuleType
from typing import Any

from connectors import models
from connectors._literals import binaries
from connectors._literals.declared import blob_type, literal_type_message, schema_type, structured_type
from connectors._literals.faults import MAX_DEPTH, Fault, Misfit, Unencodable, key_step, too_deep, type_name
from connectors._literals.fitting import described, fits, whole_float
from connectors._literals.plain import WIRE_MODELS, checked_text, is_record, plain
from connectors._literals.times import duration_parts, timestamp_parts
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.flyteidl2 import task as task_v2
from connectors._proto.google.protobuf import Duration, Timestamp
from connectors.errors import InvalidRequest
from connectors.models import LiteralType

__all__ = ["inputs", "literal_map", "outputs", "to_literal"]

_FEWEST, _MOST = -(1 << 63), (1 << 63) - 1


def to_literal(value: Any, core: ModuleType, expected: LiteralType | None = None, *, name: str = "value") -> Any:
    """The literal of a value: a ``core.Literal``.

    :param core: ``flyteidl.core`` or ``flyteidl2.core`` of the generated messages.
    :param expected: the declared type, where it is known.
    :param name: of the variable, for the error's text.
    :raises InvalidRequest: for a value that does not fit the declared type, naming the place and both types.
    :raises Unencodable: for a value that no literal can hold, naming the place.
    """
    try:
        return _Encoder(core).literal(value, expected, 0)
    except Misfit as fault:
        raise InvalidRequest(fault.at(name)) from None
    except Fault as fault:
        raise Unencodable(fault.at(name)) from None


def literal_map(
    values: Mapping[str, Any], declared: Mapping[str, LiteralType] | None = None, *, role: str = "output"
) -> core_v1.LiteralMap:
    """Values by variable as a Flyte 1 map. ``declared`` types are honoured where there are any.

    :raises InvalidRequest, Unencodable: as :func:`to_literal` does.
    """
    return core_v1.LiteralMap(literals=_literals(values, core_v1, declared, role))


def outputs(values: Mapping[str, Any], declared: Mapping[str, LiteralType] | None = None) -> task_v2.Outputs:
    """Values by variable as Flyte 2's outputs, in the mapping's order. :raises: as :func:`literal_map` does."""
    return task_v2.Outputs(literals=_named(values, declared, "output"))


def inputs(values: Mapping[str, Any], declared: Mapping[str, LiteralType] | None = None) -> task_v2.Inputs:
    """Values by variable as Flyte 2's inputs, in the mapping's order. :raises: as :func:`literal_map` does."""
    return task_v2.Inputs(literals=_named(values, declared, "input"))


def _named(
    values: Mapping[str, Any], declared: Mapping[str, LiteralType] | None, role: str
) -> list[task_v2.NamedLiteral]:
    literals = _literals(values, core_v2, declared, role)
    return [task_v2.NamedLiteral(name=name, value=literal) for name, literal in literals.items()]


def _literals(
    values: Mapping[str, Any], core: ModuleType, declared: Mapping[str, LiteralType] | None, role: str
) -> dict[str, Any]:
    types = declared or {}
    for name in values:
        if not isinstance(name, str):
            raise Unencodable(f"{role}: a name of type {type_name(name)}, where text is needed")
    return {name: to_literal(value, core, types.get(name), name=f"{role} {name}") for name, value in values.items()}


class _Encoder:
    """Builds the literals of one value in one protocol's classes.

    ``exact`` is set while a union's variants are tried: an int then fits an integer only, and a float variant takes it
    in a second round, when no variant fits it as it is.
    """

    def __init__(self, core: ModuleType) -> None:
        self._core = core
        self._trials: dict[tuple[int, int, bool], tuple[Any, Any]] = {}

    def literal(self, value: Any, expected: LiteralType | None, depth: int, exact: bool = False) -> Any:
        if isinstance(value, models.OffloadedLiteral):
            return self._offloaded(value)  # a reference to a value of any type
        if expected is None or expected.kind == "unknown":
            return self._by_value(value, depth)
        return self._by_type(value, expected, depth, exact)

    # --- the kind follows from the value

    def _by_value(self, value: Any, depth: int) -> Any:
        if isinstance(value, enum.Enum):  # before str and int, which a member may be as well
            return self._by_value(value.value, depth)
        if isinstance(value, list | tuple):
            return self._collection(value, None, depth, False)
        if isinstance(value, Mapping | bytes | bytearray | memoryview) or is_record(value):
            return self._msgpack(value)
        if isinstance(value, WIRE_MODELS):
            return self._model(value)
        return self._simple(value)

    def _simple(self, value: Any) -> Any:
        core = self._core
        if value is None:
            return core.Literal(scalar=core.Scalar(none_type=core.Void()))
        if isinstance(value, bool):
            return self._primitive(boolean=value)
        if isinstance(value, int):
            if not _FEWEST <= value <= _MOST:
                raise Fault("an int that does not fit in 64 bits")
            return self._primitive(integer=int(value))
        if isinstance(value, float):
            return self._primitive(float_value=float(value))
        if isinstance(value, str):
            return self._primitive(string_value=checked_text(value))
        if isinstance(value, date):  # a datetime too
            return self._primitive(datetime=_timestamp(value))
        if isinstance(value, timedelta):
            return self._primitive(duration=_duration(value))
        return plain(value)  # raises: nothing above can hold it

    def _primitive(self, **value: Any) -> Any:
        core = self._core
        return core.Literal(scalar=core.Scalar(primitive=core.Primitive(**value)))

    def _msgpack(self, value: Any) -> Any:
        return self._binary(models.Binary(binaries.pack(value), binaries.TAG))

    def _model(self, value: Any) -> Any:
        core = self._core
        match value:
            case models.Binary():
                return self._binary(value)
            case models.Blob():
                metadata = core.BlobMetadata(type=blob_type(value.format, value.dimensionality, core))
                scalar = core.Scalar(blob=core.Blob(metadata=metadata, uri=checked_text(value.uri)))
            case models.StructuredDataset():
                dataset_type = structured_type(value.columns, value.format, core)
                metadata = core.StructuredDatasetMetadata(structured_dataset_type=dataset_type)
                dataset = core.StructuredDataset(uri=checked_text(value.uri), metadata=metadata)
                scalar = core.Scalar(structured_dataset=dataset)
            case models.Schema():
                schema = core.Schema(uri=checked_text(value.uri), type=schema_type(value.columns, core))
                scalar = core.Scalar(schema=schema)
            case _:
                node = checked_text(value.failed_node_id)
                scalar = core.Scalar(error=core.Error(failed_node_id=node, message=checked_text(value.message)))
        return core.Literal(scalar=scalar)

    def _binary(self, value: models.Binary) -> Any:
        core = self._core
        if not isinstance(value.value, bytes):
            raise Fault(f"bytes are needed, got {type_name(value.value)}")
        return core.Literal(scalar=core.Scalar(binary=core.Binary(value=value.value, tag=checked_text(value.tag))))

    def _offloaded(self, value: models.OffloadedLiteral) -> Any:
        core = self._core
        inferred = None if value.type is None else literal_type_message(value.type, core)
        metadata = core.LiteralOffloadedMetadata(
            uri=checked_text(value.uri), size_bytes=value.size_bytes, inferred_type=inferred
        )
        return core.Literal(offloaded_metadata=metadata)

    # --- the kind is declared

    def _by_type(self, value: Any, expected: LiteralType, depth: int, exact: bool) -> Any:
        kind = expected.kind
        if kind == "union":
            return self._union(value, expected, depth)
        if kind == "enum":
            return self._enum(value, expected)
        if isinstance(value, enum.Enum):
            value = value.value
        if kind == "collection" and isinstance(value, list | tuple):
            return self._collection(value, expected.element, depth, exact)
        if kind == "map" and isinstance(value, Mapping):
            return self._map(value, expected.element, depth, exact)
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool) and not exact:
            return self._primitive(float_value=whole_float(value))
        if not fits(value, expected):
            raise Misfit(f"expected {described(expected)}, got {type_name(value)}")
        if kind == "integer" and not _FEWEST <= value <= _MOST:
            raise Misfit("expected integer, got an int that does not fit in 64 bits")
        return self._by_value(value, depth)

    def _enum(self, value: Any, expected: LiteralType) -> Any:
        # Flyte 1 declares the members' values, Flyte 2 their names.
        words = (value.value, value.name) if isinstance(value, enum.Enum) else (value,)
        for word in words:
            if isinstance(word, str) and word in expected.values:
                return self._primitive(string_value=checked_text(str(word)))
        got = "text that is not among them" if isinstance(words[0], str) else type_name(value)
        raise Misfit(f"expected {described(expected)}, got {got}")

    def _collection(self, value: Any, element: LiteralType | None, depth: int, exact: bool) -> Any:
        if depth >= MAX_DEPTH:
            raise too_deep()
        literals: list[Any] = []
        try:
            for item in value:
                literals.append(self.literal(item, element, depth + 1, exact))
        except Fault as fault:
            fault.inside(f"[{len(literals)}]")
            raise
        return self._core.Literal(collection=self._core.LiteralCollection(literals=literals))

    def _map(self, value: Mapping[Any, Any], element: LiteralType | None, depth: int, exact: bool) -> Any:
        if depth >= MAX_DEPTH:
            raise too_deep()
        literals: dict[str, Any] = {}
        for key, item in value.items():
            try:
                word = key.value if isinstance(key, enum.Enum) else key
                if not isinstance(word, str):
                    raise Misfit(f"expected text as the key of a map, got {type_name(word)}")
                literals[checked_text(word)] = self.literal(item, element, depth + 1, exact)
            except Fault as fault:
                fault.inside(key_step(key))
                raise
        return self._core.Literal(map=self._core.LiteralMap(literals=literals))

    def _union(self, value: Any, expected: LiteralType, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            raise too_deep()
        inner: list[Fault] = []
        for exact in (True, False):
            for variant in expected.variants:
                literal = self._trial(value, variant, depth + 1, exact)
                if not isinstance(literal, Fault):
                    core = self._core
                    union = core.Union(value=literal, type=literal_type_message(variant, core))
                    return core.Literal(scalar=core.Scalar(union=union))
                if literal.steps and not exact:
                    inner.append(literal)
        # A value that fitted one variant but for something inside it: that is what its author has to hear.
        if len(inner) == 1:
            raise inner[0].again()
        raise Misfit(f"expected {described(expected)}, got {type_name(value)}")

    def _trial(self, value: Any, variant: LiteralType, depth: int, exact: bool) -> Any:
        """The literal of the value as that variant, or the fault.

        Containers are tried once per variant: in a type whose every level is a union of containers the trials would
        double with each level.
        """
        key = (id(value), id(variant), exact)
        if key in self._trials:
            return self._trials[key][1]
        result: Any
        try:
            result = self.literal(value, variant, depth, exact)
        except Fault as fault:
            result = fault.with_traceback(None)  # a kept traceback would keep every frame with its values
        if isinstance(value, list | tuple | Mapping):
            self._trials[key] = (value, result)  # the value, because an id is its own only while it lives
        return result


def _timestamp(value: date) -> Timestamp:
    seconds, nanos = timestamp_parts(value)
    return Timestamp(seconds=seconds, nanos=nanos)


def _duration(value: timedelta) -> Duration:
    seconds, nanos = duration_parts(value)
    return Duration(seconds=seconds, nanos=nanos)
