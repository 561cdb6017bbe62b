"""A plugin's own settings: raw values from the environment and the file, made into the dataclasses that its
connectors declare.

A value never appears in an error: a plugin's setting may be a secret.
"""

from __future__ import annotations

import collections.abc
import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["BadDeclaration", "BadSetting", "PluginSetting", "expectation", "validate"]

_SEQUENCES = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Set, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping)
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "string_type": "a string",
    "tuple_type": "a list",
}
"""In plain words what pydantic says in its own, by its type of error."""
_ABOUT_A_FIELD = re.compile(r"(\w+)((?:, [^:]*)?: .*)", re.DOTALL)
"""How a settings class begins what it says of one of its fields, or of an entry in it: ``hosts: …``."""


@dataclass(frozen=True)
class PluginSetting:
    """A raw value, and where it came from."""

    value: Any = field(repr=False)
    source: str
    """As an operator would name it: a variable, or a key and its file."""
    is_text: bool = False
    """Whether it comes from the environment, where everything is text: lists are then split at commas, or read as
    JSON."""


class BadSetting(ValueError):
    """A plugin's setting is unknown, or its value is not what the plugin declares: the operator's fault."""


class BadDeclaration(TypeError):
    """A plugin declares its settings in a way that cannot be filled: the plugin's fault."""


def validate(plugin: str, kinds: Iterable[type[Any]], settings: Mapping[str, PluginSetting]) -> dict[type[Any], Any]:
    """An object of each of a plugin's settings classes.

    Each class takes the fields that it declares; a setting that none of them declares is an error. Names are compared
    without regard to case, and ``-`` is ``_``.

    :raises BadSetting: names the plugin, the setting and its source.
    :raises BadDeclaration: a class is no dataclass, or a field of it has no default.
    """
    classes = list(dict.fromkeys(kinds))
    for kind in classes:
        _check_declaration(kind)
    declared = {_folded(item.name) for kind in classes for item in fields(kind)}
    for name, setting in settings.items():
        if _folded(name) not in declared:
            raise BadSetting(f"{setting.source}: plugin {plugin!r} has no such setting{_nearest(name, declared)}")
    given = {_folded(name): setting for name, setting in settings.items()}
    return {kind: _build(kind, given) for kind in classes}


def _check_declaration(kind: Any) -> None:
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise BadDeclaration(f"Settings must be a dataclass, not {reprlib.repr(kind)}")
    required = [
        item.name for item in fields(kind) if item.init and item.default is MISSING and item.default_factory is MISSING
    ]
    if required:
        raise BadDeclaration(f"every field of {kind.__name__} needs a default; {', '.join(required)} has none")


def _build(kind: type[Any], given: Mapping[str, PluginSetting]) -> Any:
    # Only where text has to be read by its field's type: a class in a function may have hints that cannot be resolved
    # here.
    hints = get_type_hints(kind, include_extras=True) if any(item.is_text for item in given.values()) else {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for item in fields(kind):
        setting = given.get(_folded(item.name))
        if setting is not None and item.init:
            values[item.name] = _from_text(setting.value, hints[item.name]) if setting.is_text else setting.value
            sources[item.name] = setting.source
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = [str(part) for part in first["loc"]]
        about = None if where else _ABOUT_A_FIELD.fullmatch(expectation(first))
        if about and about[1] in sources:
            raise BadSetting(sources[about[1]] + about[2]) from None
        name = sources.get(where[0], where[0]) if where else kind.__name__
        inner = f", at {'.'.join(where[1:])}" if len(where) > 1 else ""
        raise BadSetting(f"{name}{inner}: {expectation(first)}") from None


def expectation(details: ErrorDetails) -> str:
    """Pydantic's finding as the second half of a sentence that begins with the setting's name."""
    if details["type"] in _EXPECTED:
        return f"must be {_EXPECTED[details['type']]}"
    return details["msg"].removeprefix("Value error, ").replace("Input should", "must")


def _from_text(text: Any, hint: Any) -> Any:
    """What a variable's text stands for: a list or a mapping where the field is one, else the text itself."""
    kinds = _containers(hint)
    if not isinstance(text, str) or not kinds:
        return text
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if any(issubclass(kind, _SEQUENCES) and not issubclass(kind, _MAPPINGS) for kind in kinds):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _containers(hint: Any) -> list[type[Any]]:
    origin = get_origin(hint)
    if origin is Annotated:
        return _containers(get_args(hint)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(hint) for kind in _containers(part)]
    kind = origin or hint
    is_container = isinstance(kind, type) and kind not in (str, bytes) and issubclass(kind, (*_SEQUENCES, *_MAPPINGS))
    return [kind] if is_container else []


def _folded(name: str) -> str:
    return name.replace("-", "_").lower()


def _nearest(name: str, declared: Iterable[str]) -> str:
    known = sorted(declared)
    if not known:
        return "; it has none at all"
    close = get_close_matches(_folded(name), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(known[:20])}"
