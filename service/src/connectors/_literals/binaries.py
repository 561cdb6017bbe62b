"""Values packed as msgpack: how Flyte's SDKs send dicts and dataclasses.

The format: https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NoReturn

import msgpack

from connectors._literals.faults import MAX_DEPTH, Fault, key_step, too_deep, type_name
from connectors._literals.plain import checked_text, plain
from connectors._literals.times import datetime_from

__all__ = ["TAG", "pack", "unpack"]

TAG = "msgpack"
"""The tag of a Binary literal whose bytes are msgpack."""


def pack(value: Any) -> bytes:
    """The value as msgpack. The keys of a mapping may be text or whole numbers.

    :raises Fault: for what msgpack or this project's rules cannot express, with its place.
    """
    packed: bytes = msgpack.packb(_packable(value, 0))
    return packed


def unpack(data: bytes) -> Any:
    """The value that the msgpack bytes hold; a msgpack timestamp as an aware datetime.

    :raises Fault: for bytes that are not exactly one value, for extension types, and for deep nesting.
    """
    try:
        # Lengths are bounded by the number of bytes that are there (the library's own limit).
        value = msgpack.unpackb(data, strict_map_key=False, timestamp=0, ext_hook=_refuse_extension)
    except (ValueError, TypeError, RecursionError):
        # Not chained: the library's texts quote the bytes.
        raise Fault("bytes tagged msgpack that are not one msgpack value") from None
    return _settled(value, 0)


def _refuse_extension(code: int, _data: bytes) -> NoReturn:
    raise Fault(f"a msgpack extension of type {code}")


def _settled(value: Any, depth: int) -> Any:
    """The decoded value with its timestamps converted and its depth checked; containers are changed in place."""
    kind = type(value)
    if kind is msgpack.Timestamp:
        return datetime_from(value.seconds, value.nanoseconds)
    if kind is not list and kind is not dict:
        return value
    if depth >= MAX_DEPTH:
        raise too_deep()
    step: Any = None
    try:
        for step, item in enumerate(value) if kind is list else value.items():
            if type(item) in _NEEDS_SETTLING:
                value[step] = _settled(item, depth + 1)
    except Fault as fault:
        fault.inside(f"[{step}]" if kind is list else key_step(step))
        raise
    return value


_NEEDS_SETTLING = frozenset({list, dict, msgpack.Timestamp})


def _packable(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, enum.Enum):  # before str and int, which a member may be as well
        return _packable(plain(value), depth)
    if isinstance(value, str):
        return checked_text(value)
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise Fault("an int that does not fit in 64 bits")
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return _packable_dict(value, depth)
    if isinstance(value, list | tuple):
        return _packable_list(value, depth)
    return _packable(plain(value), depth)


def _packable_dict(value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
    if depth >= MAX_DEPTH:
        raise too_deep()
    packable: dict[Any, Any] = {}
    for key, item in value.items():
        try:
            packable[_packable_key(key)] = _packable(item, depth + 1)
        except Fault as fault:
            fault.inside(key_step(key))
            raise
    return packable


def _packable_key(key: Any) -> str | int:
    if isinstance(key, enum.Enum):
        key = key.value
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise Fault(f"a key of type {type_name(key)}, where text or a whole number is needed")
    packable: str | int = _packable(key, 0)
    return packable


def _packable_list(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise too_deep()
    packable: list[Any] = []
    try:
        for item in value:
            packable.append(_packable(item, depth + 1))
    except Fault as fault:
        fault.inside(f"[{len(packable)}]")
        raise
    return packable
