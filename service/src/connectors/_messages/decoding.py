"""Bytes to messages, strictly.

betterproto2's own parser takes cut and garbage bytes without a word and recurses without a bound. This one refuses them
as the protobuf runtimes do (https://protobuf.dev/programming-guides/encoding/), and is stricter in two points that no
caller needs: a known field of another wire type, and groups. What is repeated though it is single is merged, as the
same page says. Fields that this release does not know are read over: nobody asks for them.

Requests may be megabytes of the smallest fields, so what runs for each field is written for speed.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from connectors._messages.schema import Field, Kind, Plan, full_name, plan_of

__all__ = ["MAX_DEPTH", "Malformed", "check", "parse", "parts", "payloads", "varint_at"]

MAX_DEPTH = 100
"""How deep messages may be nested in the outermost one: the default of protobuf's C++, Java and Python runtimes."""

M = TypeVar("M")


class Malformed(ValueError):
    """Bytes that are not the message that they should be. The text is a sentence that names the message."""


class _Fault(ValueError):
    """What is wrong, while the message's name is not at hand."""


def parse(
    cls: type[M],
    data: bytes,
    *,
    streamed: Collection[type[Any]] = (),
    part_of: type[Any] | None = None,
    plan: Plan | None = None,
) -> M:
    """The message that ``data`` holds.

    :param part_of: the message that it lies in; what is wrong is told of that one.

    :param streamed: classes whose maps and lists of messages are read while they are gone through, one element at a
        time, and never held: a message of millions of small ones takes a hundred times its own size, and the garbage
        collector goes through all of it. ``data`` must have been checked. Such a map has ``items``, a list is iterable,
        both have a length; a map's key that comes twice is given twice.
    :param plan: how the message is read, where it is not as :func:`plan_of` says: what is LATE comes as bytes, which
        were checked.
    :raises Malformed: the bytes are no protobuf, are cut, hold a known field of another wire type or text that is not
        UTF-8, or are nested more than 100 levels deep.
    """
    plan = plan or plan_of(cls)
    values = plan.values()
    try:
        _fill(values, plan, data, 0, len(data), 1 if part_of else 0, False, streamed)
    except (_Fault, IndexError, UnicodeDecodeError) as fault:
        raise _malformed(part_of or cls, fault) from None
    message: M = plan.message(values)
    return message


def check(cls: type[Any], data: bytes, *, part_of: type[Any] | None = None) -> None:
    """Whether :func:`parse` would take ``data``, at a fraction of its cost. :raises Malformed: it would not."""
    try:
        _scan(plan_of(cls), data, 0, len(data), 1 if part_of else 0)
    except (_Fault, IndexError, UnicodeDecodeError) as fault:
        raise _malformed(part_of or cls, fault) from None


def parts(cls: type[Any], data: bytes) -> dict[str, bytes | bytearray]:
    """The single messages, texts and bytes in a message, unread, by the names of their fields. A message that came in
    pieces is the pieces in a row, as protobuf has it.

    :raises Malformed: as :func:`parse`, of the outermost message alone: what is in a part is not looked at, unless it
        came in pieces.
    """
    plan, found, pieces = plan_of(cls), dict[str, bytes | bytearray](), False
    by_tag, position, end = plan.by_tag, 0, len(data)
    try:
        while position < end:
            tag, position = _tag_at(data, position)
            field = by_tag.get(tag)
            if field is None:
                position = _unknown(tag, plan, data, position)
            elif field.kind not in _PARTS:
                position = _skip(tag, data, position)
            else:
                size, start = varint_at(data, position)
                position = start + size
                if position > end:
                    raise _Fault(_CUT)
                if field.kind == _TEXT:
                    data[start:position].decode()
                if field.kind == _MESSAGE and field.name in found:  # grown in place: there may be very many pieces
                    before = found[field.name]
                    found[field.name] = whole = before if isinstance(before, bytearray) else bytearray(before)
                    whole += data[start:position]
                    pieces = True
                else:
                    found[field.name] = data[start:position]
    except (_Fault, IndexError, UnicodeDecodeError) as fault:
        raise _malformed(cls, fault) from None
    if pieces:  # each must be whole by itself, which does not show once they are put together
        check(cls, data)
    return found


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


# Names of the module's own: looking one up in a class takes longer.
_FIXED, _TEXT, _TEXTS, _RAW, _RAWS = Kind.FIXED, Kind.TEXT, Kind.TEXTS, Kind.RAW, Kind.RAWS
_VARINT, _MESSAGE, _MESSAGES, _MAP, _PACKED = Kind.VARINT, Kind.MESSAGE, Kind.MESSAGES, Kind.MAP, Kind.PACKED
_LATE = Kind.LATE
_PARTS = frozenset({_TEXT, _RAW, _MESSAGE})
_new = object.__new__


class _Stream:
    """The elements of a map or a list of messages, read anew whenever they are gone through."""

    def __init__(self, field: Field, data: bytes, depth: int, streamed: Collection[type[Any]]) -> None:
        self._tag, self._data = field.tag, data
        self._plan: Plan = field.detail.plan
        self._depth, self._streamed = depth, streamed
        self._spans = array("Q")
        """Where the messages begin and end whose field this is: several, if one message came in pieces."""

    def add(self, begin: int, end: int) -> None:
        if not self._spans or self._spans[-1] != end:
            self._spans.extend((begin, end))

    def __len__(self) -> int:
        return sum(1 for _ in self._places())

    def _read(self, begin: int, end: int) -> dict[str, Any]:
        values = self._plan.values()
        _fill(values, self._plan, self._data, begin, end, self._depth, False, self._streamed)
        return values

    def _places(self) -> Iterator[tuple[int, int]]:
        data = self._data
        for begin, end in zip(self._spans[::2], self._spans[1::2], strict=True):
            position = begin
            while position < end:
                tag, start = varint_at(data, position)
                position = _skip(tag, data, start)
                if tag == self._tag:
                    yield varint_at(data, start)[1], position


class _StreamedList(_Stream):
    def __iter__(self) -> Iterator[Any]:
        return (self._plan.message(self._read(*place)) for place in self._places())


class _StreamedMap(_Stream):
    def items(self) -> Iterator[tuple[Any, Any]]:
        return (self._plan.key_and_value(self._read(*place)) for place in self._places())


def _fill(  # noqa: PLR0917 - called for every message
    values: dict[str, Any],
    plan: Plan,
    data: bytes,
    position: int,
    end: int,
    depth: int,
    chosen: bool,
    streamed: Collection[type[Any]],
) -> None:
    """Reads the fields between two positions into a message's values. IndexError: the bytes are cut.

    :param chosen: whether a member of a oneof may be set by now, and has to go when another one comes.
    """
    if depth > MAX_DEPTH:
        raise _Fault(_TOO_DEEP)
    reads, begin = plan.reads, position
    streams = plan.cls in streamed
    while position < end:
        tag = data[position]
        position += 1
        if tag > 0x7F:
            tag, position = _tag_at(data, position - 1)
        known = reads.get(tag)
        if known is None:
            position = _unknown(tag, plan, data, position)
            continue
        kind, name, detail, rivals, field = known
        if rivals:
            if chosen:
                for rival in rivals:
                    values[rival] = None
            chosen = True
        if kind >= _TEXT:
            size = data[position]
            position += 1
            if size > 0x7F:
                size, position = varint_at(data, position - 1)
            stop = position + size
            if stop > end:
                raise _Fault(_CUT)
            if kind == _MESSAGE:
                inner, its = values[name], detail.plan
                if inner is None:
                    content = its.values()
                    values[name] = inner = _new(its.cls)  # as Plan.message, with a call less
                    inner.__dict__ = content
                    _fill(content, its, data, position, stop, depth + 1, False, streamed)
                else:
                    _fill(inner.__dict__, its, data, position, stop, depth + 1, True, streamed)
            elif kind == _TEXT:
                values[name] = data[position:stop].decode()
            elif streams and _MESSAGES <= kind <= _MAP:
                if not isinstance(values[name], _Stream):
                    stream = _StreamedMap if kind == _MAP else _StreamedList
                    values[name] = stream(field, data, depth + 1, streamed)
                values[name].add(begin, end)
            elif kind == _MAP:
                its = detail.plan
                start = _value_at(data, position, stop) if its.is_keyed and depth < MAX_DEPTH else 0
                if start:
                    key = data[position + 2 : start - 2].decode()
                    if its.value is None:
                        values[name][key] = data[start:stop].decode()
                    else:
                        its = its.value.plan
                        content = its.values()
                        values[name][key] = inner = _new(its.cls)
                        inner.__dict__ = content
                        _fill(content, its, data, start, stop, depth + 2, False, streamed)
                else:
                    content = its.values()
                    _fill(content, its, data, position, stop, depth + 1, False, streamed)
                    key, value = its.key_and_value(content)
                    values[name][key] = value
            elif kind == _MESSAGES:
                its = detail.plan
                content = its.values()
                _fill(content, its, data, position, stop, depth + 1, False, streamed)
                values[name].append(its.message(content))
            else:
                _fill_other(values, field, data, position, stop, depth, streamed)
            position = stop
        elif kind == _VARINT:
            value = data[position]
            position += 1
            if value > 0x7F:
                value, position = varint_at(data, position - 1)
            values[name] = detail.of(value)
        else:
            value, position = _number(field, data, position)
            if kind == _FIXED:
                values[name] = value
            else:
                values[name].append(value)
    if position > end:
        raise _Fault(_CUT)


def _value_at(data: bytes, position: int, stop: int) -> int:
    """Where the value of a map's entry begins, if key and value are both there, in this order and shorter than 128
    bytes, as nearly all are; else 0. To read such an entry as the message that it is takes five times as long.
    """
    if stop - position < 4 or data[position] != 0x0A or data[position + 1] > 0x7F:
        return 0
    middle = position + 2 + data[position + 1]
    if middle + 2 > stop or data[middle] != 0x12 or middle + 2 + data[middle + 1] != stop or data[middle + 1] > 0x7F:
        return 0
    return middle + 2


def _fill_other(  # noqa: PLR0917 - called for every field of these kinds
    values: dict[str, Any],
    field: Field,
    data: bytes,
    position: int,
    stop: int,
    depth: int,
    streamed: Collection[type[Any]],
) -> None:
    kind, name, detail = field.kind, field.name, field.detail
    if kind == _RAW:
        values[name] = data[position:stop]
    elif kind == _TEXTS:
        values[name].append(data[position:stop].decode())
    elif kind == _RAWS:
        values[name].append(data[position:stop])
    elif kind == _PACKED:
        while position < stop:
            value, position = _number(detail, data, position)
            values[name].append(value)
        if position > stop:
            raise _Fault(_CUT)
    elif kind == _LATE:
        piece, before = data[position:stop], values[name]
        if piece not in detail.known:
            _scan(detail.plan, data, position, stop, depth + 1)
        if before is None:
            values[name] = piece
        else:  # grown in place: there may be very many pieces
            values[name] = whole = before if isinstance(before, bytearray) else bytearray(before)
            whole += piece
    else:
        plan, before = detail.plan, values[name]
        content = plan.values() if before is None else plan.cls.from_wrapped(before).__dict__
        _fill(content, plan, data, position, stop, depth + 1, True, streamed)
        values[name] = plan.message(content).to_wrapped()


def _number(field: Field, data: bytes, position: int) -> tuple[Any, int]:
    if field.kind < _FIXED:
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
        case 2:
            size, position = varint_at(data, position)
            position += size
        case 0:
            position = varint_at(data, position)[1]
        case 1:
            position += 8
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
    reads = plan.reads
    while position < end:
        tag = data[position]
        position += 1
        if tag > 0x7F:
            tag, position = _tag_at(data, position - 1)
        known = reads.get(tag)
        if known is None:
            position = _unknown(tag, plan, data, position)
            continue
        kind, _, detail, _, _ = known
        if kind >= _TEXT:
            size = data[position]
            position += 1
            if size > 0x7F:
                size, position = varint_at(data, position - 1)
            stop = position + size
            if stop > end:
                raise _Fault(_CUT)
            if kind >= _MESSAGE and kind != _PACKED:
                _scan(detail.plan, data, position, stop, depth + 1)
            elif kind < _RAW:
                data[position:stop].decode()
            elif kind == _PACKED:
                while position < stop:
                    position = _number(detail, data, position)[1]
                if position > stop:
                    raise _Fault(_CUT)
            position = stop
        elif kind >= _FIXED:
            position += detail.size
        elif data[position] < 0x80:
            position += 1
        else:
            position = varint_at(data, position)[1]
    if position > end:
        raise _Fault(_CUT)
