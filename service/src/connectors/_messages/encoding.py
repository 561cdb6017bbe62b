"""Messages to bytes: fields in the order of their numbers, so that equal messages have equal bytes but for their maps.

betterproto2's own serialiser makes each field's default anew and changes the process's warning filters for it; this one
takes a tenth of the time.
"""

from __future__ import annotations

from typing import Any

from connectors._messages.schema import Field, Kind, Number, Plan, plan_of, varint

__all__ = ["serialise"]


def serialise(message: Any) -> bytes:
    """The message's bytes.

    :raises ValueError: a number is out of its field's range, or a text is no Unicode (a lone surrogate).
    """
    return bytes(_write(message.__dict__, plan_of(type(message))))


def _write(values: dict[str, Any], plan: Plan) -> bytearray:
    out = bytearray()
    for field in plan.fields:
        kind, name = field.kind, field.name
        value = values[name]
        if value is None or not (value or field.present or kind == Kind.MESSAGE):
            continue
        if kind == Kind.TEXT:
            _lengthy(out, field.key, value.encode())
        elif kind == Kind.MESSAGE:
            _lengthy(out, field.key, _write(value.__dict__, field.detail.plan))
        elif kind == Kind.VARINT:
            out += field.key
            out += _varint(value, field)
        elif value or kind not in _LISTS:
            _write_other(out, field, value)
    return out


_LISTS = frozenset({Kind.TEXTS, Kind.RAWS, Kind.MESSAGES, Kind.MAP, Kind.PACKED})


def _write_other(out: bytearray, field: Field, value: Any) -> None:
    key, detail = field.key, field.detail
    match field.kind:
        case Kind.FIXED:
            out += key
            out += detail.pack(value)
        case Kind.RAW:
            _lengthy(out, key, value)
        case Kind.TEXTS:
            for item in value:
                _lengthy(out, key, item.encode())
        case Kind.RAWS:
            for item in value:
                _lengthy(out, key, item)
        case Kind.MESSAGES:
            for item in value:
                _lengthy(out, key, _write(item.__dict__, detail.plan))
        case Kind.MAP:
            plan = detail.plan
            for name, item in value.items():
                _lengthy(out, key, _write({"key": name, "value": item}, plan))
        case Kind.PACKED:
            one = _varint if detail.kind == Kind.VARINTS else _fixed
            _lengthy(out, key, b"".join(one(item, detail) for item in value))
        case Kind.WRAPPED:
            _lengthy(out, key, _write(detail.plan.cls.from_wrapped(value).__dict__, detail.plan))


def _lengthy(out: bytearray, key: bytes, content: bytes | bytearray) -> None:
    size = len(content)
    out += key
    if size < 0x80:
        out.append(size)
    else:
        out += varint(size)
    out += content


def _varint(value: int, field: Field) -> bytes:
    number: Number = field.detail
    if not number.lowest <= value <= number.highest:
        raise ValueError(f"{field.name}: a number that its field cannot hold")
    return varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def _fixed(value: Any, field: Field) -> bytes:
    packed: bytes = field.detail.pack(value)
    return packed
