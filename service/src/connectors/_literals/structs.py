"""``google.protobuf.Struct`` to a dict and back: ``template.custom``, ``custom_info`` and generic literals.

Every number in a Struct is a double (https://protobuf.dev/reference/protobuf/google.protobuf/#value), so whole ones
become ``int`` again as far as a double counts exactly: to 2**53 on either side of zero.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any

from connectors._literals.faults import MAX_DEPTH, Fault, Unencodable, key_step, too_deep, type_name
from connectors._literals.plain import checked_text, plain
from connectors._proto.google.protobuf import ListValue, NullValue, Struct, Value
from connectors.errors import InvalidRequest

__all__ = ["dict_from_struct", "native_to_struct", "struct_from_dict", "struct_to_native"]

_EXACT = 2**53


def struct_to_native(message: Struct | None, name: str = "custom") -> dict[str, Any]:
    """The Struct as a dict; an absent one is empty.

    :param name: what the Struct is, for the error's text.
    :raises InvalidRequest: for a value of no kind or too deep a nesting, naming the place.
    """
    try:
        return {} if message is None else dict_from_struct(message, 0)
    except Fault as fault:
        raise InvalidRequest(fault.at(name)) from None


def native_to_struct(value: Mapping[str, Any], name: str = "custom_info") -> Struct:
    """The mapping as a Struct. Dataclasses, enums, datetimes and timedeltas inside it become JSON-like first.

    :param name: what the mapping is, for the error's text.
    :raises Unencodable: for NaN and infinities, ints beyond 2**53, keys that are not text, bytes, and what has no JSON
        form, naming the place.
    """
    try:
        return struct_from_dict(value, 0)
    except Fault as fault:
        raise Unencodable(fault.at(name)) from None


def dict_from_struct(message: Struct, depth: int) -> dict[str, Any]:
    """:func:`struct_to_native` within a larger value. :raises Fault: as it does."""
    if depth >= MAX_DEPTH:
        raise too_deep()
    native: dict[str, Any] = {}
    for key, item in message.fields.items():
        try:
            native[key] = _native(item, depth + 1)
        except Fault as fault:
            fault.inside(key_step(key))
            raise
    return native


def struct_from_dict(value: Mapping[str, Any], depth: int) -> Struct:
    """:func:`native_to_struct` within a larger value. :raises Fault: as it does."""
    if depth >= MAX_DEPTH:
        raise too_deep()
    fields: dict[str, Value] = {}
    for key, item in value.items():
        try:
            if not isinstance(key, str):
                raise Fault(f"a key of type {type_name(key)}, where text is needed")
            fields[checked_text(key)] = _value(item, depth + 1)
        except Fault as fault:
            fault.inside(key_step(key))
            raise
    return Struct(fields=fields)


def _native(message: Value, depth: int) -> Any:
    if (text := message.string_value) is not None:
        return text
    if (number := message.number_value) is not None:
        return int(number) if number.is_integer() and -_EXACT <= number <= _EXACT else number
    if (boolean := message.bool_value) is not None:
        return boolean
    if (struct := message.struct_value) is not None:
        return dict_from_struct(struct, depth)
    if (items := message.list_value) is not None:
        return _list_from(items, depth)
    if message.null_value is not None:
        return None
    raise Fault("a Struct's value of no kind")


def _list_from(message: ListValue, depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise too_deep()
    native: list[Any] = []
    try:
        for item in message.values:
            native.append(_native(item, depth + 1))
    except Fault as fault:
        fault.inside(f"[{len(native)}]")
        raise
    return native


def _value(value: Any, depth: int) -> Value:
    if value is None:
        return Value(null_value=NullValue.NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, enum.Enum):  # before str, int and float, which a member may be as well
        return _value(plain(value), depth)
    if isinstance(value, str):
        return Value(string_value=checked_text(value))
    if isinstance(value, int):
        if not -_EXACT <= value <= _EXACT:
            raise Fault("an int beyond 2**53, which a Struct cannot hold exactly: send it as text")
        return Value(number_value=float(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Fault("a number that is not finite, which a Struct cannot hold")
        return Value(number_value=value)
    if isinstance(value, Mapping):
        return Value(struct_value=struct_from_dict(value, depth))
    if isinstance(value, list | tuple):
        return Value(list_value=_list_of(value, depth))
    return _value(plain(value), depth)


def _list_of(value: list[Any] | tuple[Any, ...], depth: int) -> ListValue:
    if depth >= MAX_DEPTH:
        raise too_deep()
    values: list[Value] = []
    try:
        for item in value:
            values.append(_value(item, depth + 1))
    except Fault as fault:
        fault.inside(f"[{len(values)}]")
        raise
    return ListValue(values=values)
