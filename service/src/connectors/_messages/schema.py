"""What a generated message class looks like on the wire: a plan made once per class, from its fields' declarations."""

from __future__ import annotations

import copy
import dataclasses
import struct
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, get_args, get_type_hints

import betterproto2

__all__ = ["Field", "Kind", "Plan", "full_name", "plan_of", "varint"]

_new = object.__new__


class Kind:
    """How a field is carried; from TEXT on, as a length and as many bytes. Plain numbers: they are compared for every
    field of every message.
    """

    VARINT = 0
    VARINTS = 1
    FIXED = 2
    FIXEDS = 3
    TEXT = 4
    TEXTS = 5
    RAW = 6
    RAWS = 7
    MESSAGE = 8
    MESSAGES = 9
    MAP = 10
    PACKED = 11
    WRAPPED = 12
    LATE = 13
    """A message that is kept as bytes: only in plans that :meth:`Plan.with_fields` made."""


class Field(NamedTuple):
    """One field as it is read and written."""

    kind: int
    name: str
    number: int
    detail: Any
    """VARINT: a :class:`Number`. FIXED: a ``struct.Struct``. Of messages: their :class:`Plan`, made when it is first
    needed, since messages contain themselves. PACKED: the field of one element."""
    rivals: tuple[str, ...]
    """The other members of its oneof: at most one of them is set."""
    present: bool
    """Whether a value is written that equals the default: members of a oneof know whether they are set."""
    tag: int
    key: bytes
    """The tag as it is written."""


class Number(NamedTuple):
    """How a varint's 64 bits become a value, and which values it can hold."""

    of: Callable[[int], Any]
    lowest: int
    highest: int


def _signed(bits: int) -> Callable[[int], int]:
    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    return lambda value: ((value & mask) ^ half) - half


def _unsigned(bits: int) -> Callable[[int], int]:
    mask = (1 << bits) - 1
    return lambda value: value & mask


def _range(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


_NUMBERS = {
    betterproto2.TYPE_BOOL: Number(bool, 0, 1),
    betterproto2.TYPE_INT32: Number(_signed(32), *_range(32)),
    betterproto2.TYPE_INT64: Number(_signed(64), *_range(64)),
    betterproto2.TYPE_UINT32: Number(_unsigned(32), 0, (1 << 32) - 1),
    betterproto2.TYPE_UINT64: Number(_unsigned(64), 0, (1 << 64) - 1),
}
_FIXED = {
    betterproto2.TYPE_DOUBLE: struct.Struct("<d"),
    betterproto2.TYPE_FLOAT: struct.Struct("<f"),
    betterproto2.TYPE_FIXED32: struct.Struct("<I"),
    betterproto2.TYPE_SFIXED32: struct.Struct("<i"),
    betterproto2.TYPE_FIXED64: struct.Struct("<Q"),
    betterproto2.TYPE_SFIXED64: struct.Struct("<q"),
}


class _Entry:
    """An entry of a map: its key and its value."""


class Plan:
    """One message class's fields, by the tag that they are read by, and in the order in which they are written."""

    def __init__(self, cls: type[Any], declared: list[tuple[str, betterproto2.FieldMetadata, Any]]) -> None:
        self.cls = cls
        self.fields = sorted(
            (_field(name, meta, hint, declared) for name, meta, hint in declared), key=lambda field: field.number
        )
        self.by_name = {field.name: field for field in self.fields}
        self.numbers = frozenset(field.number for field in self.fields)
        self.by_tag = {field.tag: field for field in self.fields}
        self.by_tag |= {field.detail.tag: field.detail for field in self.fields if field.kind == Kind.PACKED}
        self.reads = {tag: (each.kind, each.name, each.detail, each.rivals, each) for tag, each in self.by_tag.items()}
        """What reading takes of each field: a plain tuple is unpacked in a third of a named one's time."""
        self.single: dict[str, Any] = {"_unknown_fields": b""} if cls is not _Entry else {}
        self.lists: list[str] = []
        self.maps: list[str] = []
        for name, meta, hint in declared:
            if meta.repeated:
                self.lists.append(name)
            elif meta.proto_type == betterproto2.TYPE_MAP:
                self.maps.append(name)
            else:
                self.single[name] = _default(meta, hint)
        if not self.lists and not self.maps:
            self.values = self.single.copy  # type: ignore[method-assign]  # most messages: half the time
        kinds = [field.kind for field in self.fields]
        self.is_keyed = cls is _Entry and kinds in ([Kind.TEXT, Kind.TEXT], [Kind.TEXT, Kind.MESSAGE])
        """Whether these are entries of a map from texts to texts or messages."""
        self.value = self.by_name["value"].detail if self.is_keyed else None
        """Of the messages' class; None where the values are texts."""

    def values(self) -> dict[str, Any]:
        """What an empty message holds, by the names of its fields."""
        values = self.single.copy()
        for name in self.lists:
            values[name] = []
        for name in self.maps:
            values[name] = {}
        return values

    def message(self, values: dict[str, Any]) -> Any:
        """The message that holds these values, every field's. Its own ``__init__`` calls a factory for each field,
        which takes ten times as long.
        """
        message: Any = _new(self.cls)
        message.__dict__ = values
        return message

    def with_fields(self, *others: Field) -> Plan:
        """This plan for reading, with other fields in the places of those of the same names."""
        plan = copy.copy(self)
        plan.by_name = self.by_name | {each.name: each for each in others}
        plan.reads = self.reads | {each.tag: (each.kind, each.name, each.detail, each.rivals, each) for each in others}
        return plan

    def key_and_value(self, entry: dict[str, Any]) -> tuple[Any, Any]:
        """Of a map's entry that was read. Its value may have been left out if it is an empty message."""
        value = entry["value"]
        if value is None:
            plan = self.by_name["value"].detail.plan
            value = plan.message(plan.values())
        return entry["key"], value


class Later:
    """The plan of a message class, made when it is first asked for."""

    def __init__(self, make: Callable[[], Plan]) -> None:
        self._make = make

    @cached_property
    def plan(self) -> Plan:
        """The plan."""
        return self._make()


def plan_of(cls: type[Any]) -> Plan:
    """The plan of a generated message class."""
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _make_plan(cls)
    return plan


_plans: dict[type[Any], Plan] = {}


def _make_plan(cls: type[Any]) -> Plan:
    hints = get_type_hints(cls, vars(sys.modules[cls.__module__]))
    declared = [
        (field.name, betterproto2.FieldMetadata.get(field), _bare(hints[field.name]))
        for field in dataclasses.fields(cls)
    ]
    return Plan(cls, declared)


def full_name(cls: type[Any]) -> str:
    """A top-level message's full name in protobuf; the class's name where it was not generated."""
    package = cls.__module__.partition("._proto.")[2]
    return f"{package}.{cls.__name__}" if package else cls.__name__


def _bare(hint: Any) -> Any:
    """``X`` of ``X | None`` and of ``list[X]``; a map's two types."""
    arguments = [each for each in get_args(hint) if each is not type(None)]
    return hint if not arguments else arguments[0] if len(arguments) == 1 else tuple(arguments)


def _default(meta: betterproto2.FieldMetadata, hint: Any) -> Any:
    if meta.optional or meta.group or meta.proto_type == betterproto2.TYPE_MESSAGE:
        return None
    if meta.proto_type == betterproto2.TYPE_ENUM:
        return hint(0)
    return {betterproto2.TYPE_STRING: "", betterproto2.TYPE_BYTES: b"", betterproto2.TYPE_BOOL: False}.get(
        meta.proto_type, 0.0 if meta.proto_type in (betterproto2.TYPE_DOUBLE, betterproto2.TYPE_FLOAT) else 0
    )


def _field(name: str, meta: betterproto2.FieldMetadata, hint: Any, siblings: Any) -> Field:
    kind, detail = _shape(meta, hint)
    if meta.repeated:
        kind += 1  # what follows each kind is a list of it
    rivals = tuple(other for other, its, _ in siblings if meta.group and its.group == meta.group and other != name)
    present = bool(meta.group or meta.optional or meta.repeated)
    tag = meta.number << 3 | _wire_type(kind, detail)
    field = Field(kind, name, meta.number, detail, rivals, present, tag, varint(tag))
    if kind in (Kind.VARINTS, Kind.FIXEDS):  # written as one run of bytes, and read both ways
        tag = meta.number << 3 | 2
        return Field(Kind.PACKED, name, meta.number, field, rivals, present, tag, varint(tag))
    return field


def _shape(meta: betterproto2.FieldMetadata, hint: Any) -> tuple[int, Any]:
    kind = meta.proto_type
    if kind in _NUMBERS:
        return Kind.VARINT, _NUMBERS[kind]
    if kind == betterproto2.TYPE_ENUM:
        return Kind.VARINT, Number(_enum(hint), *_range(32))
    if kind in _FIXED:
        return Kind.FIXED, _FIXED[kind]
    if kind == betterproto2.TYPE_STRING:
        return Kind.TEXT, None
    if kind == betterproto2.TYPE_BYTES:
        return Kind.RAW, None
    if kind == betterproto2.TYPE_MESSAGE:
        if meta.unwrap is not None:
            return Kind.WRAPPED, Later(lambda wrapper=meta.unwrap: plan_of(wrapper()))  # type: ignore[misc]
        return Kind.MESSAGE, Later(lambda: plan_of(hint))
    if kind == betterproto2.TYPE_MAP and meta.map_meta is not None:
        parts = zip(("key", "value"), meta.map_meta, hint, strict=True)
        declared = [(name, part, of) for name, part, of in parts]
        return Kind.MAP, Later(lambda: Plan(_Entry, declared))
    raise NotImplementedError(f"a field of type {kind}")


def _enum(cls: type[betterproto2.Enum]) -> Callable[[int], betterproto2.Enum]:
    known, signed = dict(cls._value2member_map_), _signed(32)

    def of(value: int) -> Any:
        member = known.get(value)
        # A number that this release does not know becomes a member without a name.
        return cls(signed(value)) if member is None else member

    return of


def _wire_type(kind: int, detail: Any) -> int:
    if kind in (Kind.FIXED, Kind.FIXEDS):
        return 1 if detail.size == 8 else 5
    return 0 if kind in (Kind.VARINT, Kind.VARINTS) else 2


def varint(value: int) -> bytes:
    """A number of 0 or more, in as few bytes as it takes."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
