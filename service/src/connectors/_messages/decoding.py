"""Bytes to messages, strictly.

betterproto2's own parser takes cut and garbage bytes without a word and recurses without a bound. This one refuses them
as the protobuf runtimes do (https://protobuf.dev/programming-guides/encoding/), and is stricter in two points that no
caller needs: a known field of another wire type, and groups. What is repeated though it is single is merged, as the
same page says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from connectors._messages.schema import Field, Kind, Plan, full_name, plan_of

__all__ = ["MAX_DEPTH", "Malformed", "check", "parse", "payloads", "varint_at"]

MAX_DEPTH = 100
"""How deep messages may be nested in the outermost one: the default of protobuf's C++, Java and Python runtimes."""

M = TypeVar("M")


class Malformed(ValueError):
    """Bytes that are not the message that they should be. The text is a sentence that names the message."""


class _Fault(Exception):
    """What is wrong, while the message's name is not at hand."""


def parse(cls: type[M], data: bytes) -> M:
    """The message that ``data`` holds.

    :raises Malformed: the bytes are no protobuf, are cut, hold a known field of another wire type or text that is not
        UTF-8, or are nested more than 100 levels deep.
    """
    plan = plan_of(cls)
    message: M = plan.new()
    try:
        _fill(message, plan, data, 0, len(data), 0)
    except (_Fault, IndexError, UnicodeDecodeError) as fault:
        raise _malformed(cls, fault) from None
    return message


def check(cls: type[Any], data: bytes) -> None:
    """Whether :func:`parse` would take ``data``, at a fraction of its cost. :raises Malformed: it would not."""
    try:
        _scan(plan_of(cls), data, 0, len(data), 0)
    except (_Fault, IndexError, UnicodeDecodeError) as fault:
        raise _malformed(cls, fault) from None


def payloads(data: bytes) -> Iterator[tuple[int, bytes | int, bytes]]:
    """The outermost fields of bytes that were checked, in their order: number, content, and the field's bytes with its
    tag. A varint's content is its 64 bits as a number.
    """
    position, end = 0, len(data)
    while position < end:
        begin = position
        tag, start = varint_at(data, position)
        content: bytes | int
        if tag & 7 == 0:
            content, position = varint_at(data, start)
        else:
            position = _skip(tag, data, start)
            content = data[varint_at(data, start)[1] if tag & 7 == 2 else start : position]
        yield tag >> 3, content, data[begin:position]


def varint_at(data: bytes, position: int) -> tuple[int, int]:
    """The number at ``position``, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            raise _Fault("a number of more than 10 bytes")


def _tag_at(data: bytes, begin: int) -> tuple[int, int]:
    tag, position = varint_at(data, begin)
    if position - begin > 5:
        raise _Fault(_NO_FIELD)
    return tag, position


def _malformed(cls: type[Any], fault: Exception) -> Malformed:
    match fault:
        case IndexError():
            reason = _CUT
        case UnicodeDecodeError():
            reason = "it holds text that is not UTF-8"
        case _:
            reason = str(fault)
    return Malformed(f"the bytes are no {full_name(cls)}: {reason}")


_NO_FIELD = "they hold a field number that does not exist"
_CUT = "they end in the middle of a field"
_TOO_DEEP = f"they are nested more than {MAX_DEPTH} levels deep"


def _fill(message: Any, plan: Plan, data: bytes, position: int, end: int, depth: int) -> None:  # noqa: PLR0917 - called for every message
    """Reads the fields between two positions into a message. IndexError: the bytes are cut."""
    if depth > MAX_DEPTH:
        raise _Fault(_TOO_DEEP)
    values, by_tag = message.__dict__, plan.by_tag
    while position < end:
        begin = position
        tag = data[position]
        position += 1
        if tag > 0x7F:
            tag, position = _tag_at(data, begin)
        field = by_tag.get(tag)
        if field is None:
            position = _unknown(tag, plan, data, position)
            if position <= end:
                values["_unknown_fields"] = values.get("_unknown_fields", b"") + data[begin:position]
            continue
        kind, name, _, detail, rivals, _, _, _ = field
        if kind >= Kind.TEXT:
            size = data[position]
            position += 1
            if size > 0x7F:
                size, position = varint_at(data, position - 1)
            stop = position + size
            if stop > end:
                raise _Fault(_CUT)
            if kind == Kind.TEXT:
                values[name] = data[position:stop].decode()
            elif kind == Kind.MESSAGE:
                inner = values[name]
                if inner is None:
                    values[name] = inner = detail.plan.new()
                _fill(inner, detail.plan, data, position, stop, depth + 1)
            else:
                _fill_other(values, field, data, position, stop, depth)
            position = stop
        elif kind == Kind.VARINT:
            value, position = varint_at(data, position)
            values[name] = detail.of(value)
        else:
            value, position = _number(field, data, position)
            if kind == Kind.FIXED:
                values[name] = value
            else:
                values[name].append(value)
        for rival in rivals:
            values[rival] = None
    if position > end:
        raise _Fault(_CUT)


def _fill_other(  # noqa: PLR0917 - called for every field of these kinds
    values: dict[str, Any], field: Field, data: bytes, position: int, stop: int, depth: int
) -> None:
    kind, name, detail = field.kind, field.name, field.detail
    if kind == Kind.RAW:
        values[name] = data[position:stop]
    elif kind == Kind.TEXTS:
        values[name].append(data[position:stop].decode())
    elif kind == Kind.RAWS:
        values[name].append(data[position:stop])
    elif kind == Kind.MESSAGES:
        inner = detail.plan.new()
        _fill(inner, detail.plan, data, position, stop, depth + 1)
        values[name].append(inner)
    elif kind == Kind.MAP:
        plan = detail.plan
        entry = plan.new()
        _fill(entry, plan, data, position, stop, depth + 1)
        # an entry whose value is an empty message may leave it out
        values[name][entry.key] = plan.value_of(entry)
    elif kind == Kind.PACKED:
        while position < stop:
            value, position = _number(detail, data, position)
            values[name].append(value)
        if position > stop:
            raise _Fault(_CUT)
    else:
        wrapper, before = detail.plan.cls, values[name]
        inner = detail.plan.new() if before is None else wrapper.from_wrapped(before)
        _fill(inner, detail.plan, data, position, stop, depth + 1)
        values[name] = inner.to_wrapped()


def _number(field: Field, data: bytes, position: int) -> tuple[Any, int]:
    if field.kind < Kind.FIXED:
        value, position = varint_at(data, position)
        return field.detail.of(value), position
    stop = position + field.detail.size
    if stop > len(data):
        raise _Fault(_CUT)
    return field.detail.unpack_from(data, position)[0], stop


def _unknown(tag: int, plan: Plan, data: bytes, position: int) -> int:
    """The position after a field that has no place in the plan."""
    if tag >> 3 in plan.numbers:
        raise _Fault(f"their field {tag >> 3} is of another type")
    if not 0 < tag >> 3 < 1 << 29:
        raise _Fault(_NO_FIELD)
    return _skip(tag, data, position)


def _skip(tag: int, data: bytes, position: int) -> int:
    match tag & 7:
        case 0:
            position = varint_at(data, position)[1]
        case 1:
            position += 8
        case 2:
            size, position = varint_at(data, position)
            position += size
        case 5:
            position += 4
        case wire_type:
            raise _Fault(f"they hold a field of wire type {wire_type}")
    if position > len(data):
        raise _Fault(_CUT)
    return position


def _scan(plan: Plan, data: bytes, position: int, end: int, depth: int) -> None:
    """:func:`_fill` with nothing to fill."""
    if depth > MAX_DEPTH:
        raise _Fault(_TOO_DEEP)
    by_tag = plan.by_tag
    while position < end:
        tag = data[position]
        position += 1
        if tag > 0x7F:
            tag, position = _tag_at(data, position - 1)
        field = by_tag.get(tag)
        if field is None:
            position = _unknown(tag, plan, data, position)
            continue
        kind = field.kind
        if kind < Kind.FIXED:
            if data[position] < 0x80:
                position += 1
            else:
                position = varint_at(data, position)[1]
            continue
        if kind < Kind.TEXT:
            position += field.detail.size
            continue
        size = data[position]
        position += 1
        if size > 0x7F:
            size, position = varint_at(data, position - 1)
        stop = position + size
        if stop > end:
            raise _Fault(_CUT)
        if kind >= Kind.MESSAGE and kind != Kind.PACKED:
            _scan(field.detail.plan, data, position, stop, depth + 1)
        elif kind < Kind.RAW:
            data[position:stop].decode()
        elif kind == Kind.PACKED:
            while position < stop:
                position = _number(field.detail, data, position)[1]
            if position > stop:
                raise _Fault(_CUT)
        position = stop
    if position > end:
        raise _Fault(_CUT)
