"""Python types to the types that a task's interface declares."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from connectors.models import Blob, Interface, LiteralType, Schema, StructuredDataset

__all__ = ["interface", "literal_type_of"]

_SIMPLE: Mapping[Any, LiteralType] = {
    Any: LiteralType("unknown"),
    None: LiteralType("none"),
    type(None): LiteralType("none"),
    bool: LiteralType("boolean"),
    int: LiteralType("integer"),
    float: LiteralType("float"),
    str: LiteralType("string"),
    bytes: LiteralType("binary"),
    datetime: LiteralType("datetime"),
    date: LiteralType("datetime"),
    timedelta: LiteralType("duration"),
    dict: LiteralType("struct"),
    list: LiteralType("collection", element=LiteralType("unknown")),
    Blob: LiteralType("blob"),
    Schema: LiteralType("schema"),
    StructuredDataset: LiteralType("structured_dataset"),
}


def interface(inputs: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None) -> Interface:
    """An interface of Python types, or of declared ones.

    :raises TypeError: as :func:`literal_type_of` does; the message names the variable.
    """
    return Interface(_declared(inputs, "input"), _declared(outputs, "output"))


def literal_type_of(kind: Any) -> LiteralType:
    """The declared type of a Python type: None, bool, int, float, str, bytes, datetime, date, timedelta, ``list[…]``,
    ``dict[str, …]``, a union, an enum, ``Literal`` of texts, a dataclass, a pydantic model, :class:`connectors.Blob`,
    :class:`connectors.Schema` or :class:`connectors.StructuredDataset`. ``Any``, ``dict`` and ``list`` do not say more.
    One that is declared already is taken as it is.

    :raises TypeError: for another type.
    """
    if isinstance(kind, LiteralType):
        return kind
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is None:
        return _plain(kind)
    if origin in {Union, types.UnionType}:
        return LiteralType("union", variants=tuple(literal_type_of(each) for each in arguments))
    if origin is Literal and all(isinstance(each, str) for each in arguments):
        return LiteralType("enum", values=arguments)
    if origin in {list, Sequence} and len(arguments) == 1:
        return LiteralType("collection", element=literal_type_of(arguments[0]))
    if origin in {dict, Mapping} and len(arguments) == 2 and arguments[0] is str:
        if arguments[1] is Any:
            return LiteralType("struct")
        return LiteralType("map", element=literal_type_of(arguments[1]))
    raise TypeError(f"{kind} is no type of a task's input or output")


def _plain(kind: Any) -> LiteralType:
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum):
            return LiteralType("enum", values=tuple(str(each.value) for each in kind))
        if is_dataclass(kind) and kind not in _SIMPLE:
            return LiteralType("struct")
        if issubclass(kind, BaseModel):
            return LiteralType("struct")
    try:
        return _SIMPLE[kind]
    except (KeyError, TypeError):
        raise TypeError(f"{kind!r} is no type of a task's input or output") from None


def _declared(given: Mapping[str, Any] | None, role: str) -> dict[str, LiteralType]:
    found = {}
    for name, kind in (given or {}).items():
        try:
            found[name] = literal_type_of(kind)
        except TypeError as error:
            raise TypeError(f"{role} {name}: {error}") from None
    return found
