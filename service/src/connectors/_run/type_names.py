"""Declared types as people write them: ``int``, ``list[str]``, ``dict[str, float]``, ``str | None``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from connectors._run.mistakes import Mistake, did_you_mean
from connectors.models import LiteralType

__all__ = ["type_of"]

_NAMES = {
    "int": LiteralType("integer"),
    "float": LiteralType("float"),
    "str": LiteralType("string"),
    "bool": LiteralType("boolean"),
    "datetime": LiteralType("datetime"),
    "timedelta": LiteralType("duration"),
    "bytes": LiteralType("binary"),
    "dict": LiteralType("struct"),
    "None": LiteralType("none"),
    "file": LiteralType("blob"),
    "folder": LiteralType("blob", dimensionality="multipart"),
    "schema": LiteralType("schema"),
    "structured_dataset": LiteralType("structured_dataset"),
}
_NAMES |= {
    each.kind: each
    for each in (*_NAMES.values(), LiteralType("error"))
    if each.kind not in {"blob", "schema", "structured_dataset"}
}
_TABLE_FIELDS = ("type", "format", "columns")


def type_of(written: Any, place: str) -> LiteralType:
    """The type.

    :param written: a text, or for a type with a format or columns a mapping with ``type`` beside them.
    :param place: where it stands, for the error's text.
    :raises Mistake: it is none.
    """
    if isinstance(written, Mapping):
        return _detailed(written, place)
    if written is None:
        return _NAMES["none"]
    if not isinstance(written, str):
        raise Mistake(f"{place}: a type is a text such as int or list[str], not {type(written).__name__}")
    try:
        tree = ast.parse(written.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Mistake(f"{place}: {written!r} is no type; one is written such as int or list[str]") from None
    return _read(tree, place)


def _detailed(written: Mapping[Any, Any], place: str) -> LiteralType:
    for name in written:
        if name not in _TABLE_FIELDS:
            raise Mistake(f"{place}: there is no {name}{did_you_mean(str(name), _TABLE_FIELDS)}")
    bare = type_of(written.get("type", ""), f"{place}.type")
    if bare.kind not in {"blob", "schema", "structured_dataset"}:
        raise Mistake(f"{place}: {bare.kind} has neither format nor columns")
    form, columns = written.get("format", ""), written.get("columns") or {}
    if not isinstance(form, str):
        raise Mistake(f"{place}.format: text is needed")
    if not isinstance(columns, Mapping):
        raise Mistake(f"{place}.columns: a mapping of names to types is needed")
    typed = {str(name): type_of(each, f"{place}.columns.{name}") for name, each in columns.items()}
    return LiteralType(bare.kind, format=form, dimensionality=bare.dimensionality, columns=typed)


def _read(node: ast.expr, place: str) -> LiteralType:
    match node:
        case ast.Constant(value=None):
            return _NAMES["none"]
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.Name(id=name) if name in _GENERIC:
            raise Mistake(f"{place}: {name} needs to say of what, as in {_EXAMPLES[name]}")
        case ast.Name(id=name):
            raise Mistake(f"{place}: there is no type {name}{did_you_mean(name, {*_NAMES, *_GENERIC})}")
        case ast.BinOp(op=ast.BitOr()):
            return LiteralType("union", variants=tuple(_read(each, place) for each in _alternatives(node)))
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _GENERIC:
            return _GENERIC[name](inner.elts if isinstance(inner, ast.Tuple) else [inner], place)
    raise Mistake(f"{place}: {ast.unparse(node)!r} is no type; one is written such as int or list[str]")


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    return [node]


def _list(inner: list[ast.expr], place: str) -> LiteralType:
    if len(inner) != 1:
        raise Mistake(f"{place}: a list is of one type, as in {_EXAMPLES['list']}")
    return LiteralType("collection", element=_read(inner[0], place))


def _dict(inner: list[ast.expr], place: str) -> LiteralType:
    if len(inner) != 2 or _read(inner[0], place).kind != "string":
        raise Mistake(f"{place}: a dict is from str to one type, as in {_EXAMPLES['dict']}")
    return LiteralType("map", element=_read(inner[1], place))


def _enum(inner: list[ast.expr], place: str) -> LiteralType:
    words = [each.value for each in inner if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if len(words) < len(inner):
        raise Mistake(f"{place}: an enum is of texts, as in {_EXAMPLES['enum']}")
    return LiteralType("enum", values=tuple(words))


_GENERIC: dict[str, Callable[[list[ast.expr], str], LiteralType]] = {"list": _list, "dict": _dict, "enum": _enum}
_EXAMPLES = {"list": "list[int]", "dict": "dict[str, int]", "enum": "enum['small', 'large']"}
