"""Inputs that are texts, numbers and truth values, straight from bytes to Python.

Most inputs are. Read as messages, each is four of them, which takes 25 µs; read here, 4. What looks any other way, if
only in the order of its fields, is left to :func:`~connectors._messages.decoding.parse`, and so is what is wrong.
"""

from __future__ import annotations

import struct
from typing import Any

from connectors._messages.decoding import varint_at

__all__ = ["plain_inputs"]

_ENTRY = _KEY = _SCALAR = _PRIMITIVE = 0x0A  # field 1, with a length
_VALUE = 0x12  # field 2, with a length
_INTEGER, _FLOAT, _TEXT, _BOOLEAN = 0x08, 0x11, 0x1A, 0x20
_double = struct.Struct("<d").unpack_from


def plain_inputs(data: bytes) -> dict[str, Any] | None:
    """The native values in a ``LiteralMap`` (``flyteidl/core/literals.proto``) or in Flyte 2's ``Inputs``, whose bytes
    are alike; None where they have to be read as messages.
    """
    values: dict[str, Any] = {}
    position, end = 0, len(data)
    try:
        while position < end:
            if data[position] != _ENTRY:
                return None
            size, begin = _size_at(data, position + 1)
            position = stop = begin + size
            if data[begin] != _KEY or data[begin + 1] > 0x7F:
                return None
            middle = begin + 2 + data[begin + 1]
            name = data[begin + 2 : middle].decode()
            # each is the last of what it lies in
            for at in (_VALUE, _SCALAR, _PRIMITIVE):
                if middle >= stop or data[middle] != at:
                    return None
                size, middle = _size_at(data, middle + 1)
                if middle + size != stop:
                    return None
            kind = data[middle] if middle < stop else 0
            if kind == _TEXT:
                size, middle = _size_at(data, middle + 1)
                value: Any = data[middle:stop].decode()
                middle += size
            elif kind == _INTEGER:
                number, middle = varint_at(data, middle + 1)
                value = number - (1 << 64) if number >> 63 else number
            elif kind == _FLOAT:
                value, middle = _double(data, middle + 1)[0], middle + 9
            elif kind == _BOOLEAN:
                number, middle = varint_at(data, middle + 1)
                value = bool(number)
            else:
                return None
            if middle != stop or stop > end or name in values:
                return None
            values[name] = value
    except (ValueError, IndexError, struct.error):
        return None
    return values


def _size_at(data: bytes, position: int) -> tuple[int, int]:
    size = data[position]
    return (size, position + 1) if size < 0x80 else varint_at(data, position)
