"""A task as people write it: what YAML or JSON holds, to :class:`connectors.models.TaskTemplate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from connectors._run.mistakes import Mistake, did_you_mean
from connectors._run.type_names import type_of
from connectors.models import Container, Identifier, Interface, LiteralType, SecretReference, Sql, TaskTemplate

__all__ = ["task_of"]

_DIALECTS = ("UNDEFINED", "ANSI", "HIVE", "OTHER")
_Part = Callable[[Any, str], Any]


def task_of(written: Any) -> TaskTemplate:
    """The task.

    :raises Mistake: a key does not exist, or what it holds is of another kind; the text names the key.
    """
    parts = _fields(written, "", _TASK)
    if "type" not in parts:
        raise Mistake("type: is missing; it names the connector, as connectors list shows it")
    name = parts.pop("name", None)
    if name is not None:
        if "id" in parts:
            raise Mistake("name: the task has an id, whose name it is; give one of the two")
        parts["id"] = Identifier(name=name)
    bodies = [each for each in ("sql", "container", "k8s_pod") if each in parts]
    if len(bodies) > 1:
        raise Mistake(f"{bodies[1]}: a task has one of sql, container and k8s_pod, and this one has {bodies[0]}")
    return TaskTemplate(**parts)


def _fields(written: Any, place: str, known: Mapping[str, _Part]) -> dict[str, Any]:
    """What the keys hold; one that holds null counts as absent."""
    found = {}
    for key, value in _mapping(written, place).items():
        if key not in known:
            raise Mistake(f"{_inside(place, key)}: there is no such key{did_you_mean(key, known)}")
        if value is not None:
            found[key] = known[key](value, _inside(place, key))
    return found


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _mapping(written: Any, place: str) -> dict[str, Any]:
    if not isinstance(written, dict):
        raise Mistake(f"{place or 'the file'}: a mapping is needed, not {_kind(written)}")
    for key in written:
        if not isinstance(key, str):
            raise Mistake(f"{_inside(place, str(key))}: a key is a text, not {_kind(key)}; put it in quotes")
    return written


def _text(written: Any, place: str) -> str:
    if not isinstance(written, str):
        raise Mistake(f"{place}: text is needed, not {_kind(written)}; put it in quotes")
    return written


def _filled_text(written: Any, place: str) -> str:
    if not _text(written, place).strip():
        raise Mistake(f"{place}: is empty")
    return str(written)


def _number(written: Any, place: str) -> int:
    if not isinstance(written, int) or isinstance(written, bool) or not 0 <= written < 1 << 31:
        raise Mistake(f"{place}: a whole number from 0 on is needed, not {_kind(written)}")
    return written


def _texts(written: Any, place: str) -> tuple[str, ...]:
    if not isinstance(written, list):
        raise Mistake(f"{place}: a list is needed, not {_kind(written)}")
    return tuple(_text(each, f"{place}[{number}]") for number, each in enumerate(written))


def _texts_by_name(written: Any, place: str) -> dict[str, str]:
    return {key: _text(value, _inside(place, key)) for key, value in _mapping(written, place).items()}


def _json_object(written: Any, place: str) -> dict[str, Any]:
    return {key: _json_like(value, _inside(place, key)) for key, value in _mapping(written, place).items()}


def _json_like(written: Any, place: str) -> Any:
    if isinstance(written, dict):
        return _json_object(written, place)
    if isinstance(written, list):
        return [_json_like(each, f"{place}[{number}]") for number, each in enumerate(written)]
    if written is not None and not isinstance(written, str | int | float):
        raise Mistake(f"{place}: {_kind(written)} has no form in a task")
    if isinstance(written, float) and not math.isfinite(written):
        raise Mistake(f"{place}: a number that is infinite, or none, has no form in a task")
    return written


def _variables(written: Any, place: str) -> dict[str, LiteralType]:
    return {name: type_of(each, _inside(place, name)) for name, each in _mapping(written, place).items()}


def _sql(written: Any, place: str) -> Sql:
    if isinstance(written, str):
        return Sql(_filled_text(written, place))
    parts = _fields(written, place, {"statement": _filled_text, "dialect": _text})
    if "statement" not in parts:
        raise Mistake(f"{place}.statement: is missing")
    if parts.get("dialect", "ANSI") not in _DIALECTS:
        raise Mistake(f"{place}.dialect: one of {', '.join(_DIALECTS)} is needed")
    return Sql(**parts)


def _identifier(written: Any, place: str) -> Identifier:
    return Identifier(**_fields(written, place, dict.fromkeys(("project", "domain", "name", "version", "org"), _text)))


def _interface(written: Any, place: str) -> Interface:
    return Interface(**_fields(written, place, {"inputs": _variables, "outputs": _variables}))


def _container(written: Any, place: str) -> Container:
    kinds: dict[str, _Part] = {"image": _text, "command": _texts, "args": _texts}
    return Container(**_fields(written, place, kinds | dict.fromkeys(("env", "requests", "limits"), _texts_by_name)))


def _secrets(written: Any, place: str) -> tuple[SecretReference, ...]:
    if not isinstance(written, list):
        raise Mistake(f"{place}: a list is needed, not {_kind(written)}")
    found = []
    for number, each in enumerate(written):
        known = dict.fromkeys(("group", "key", "group_version", "env_var"), _text)
        fields = {"key": each} if isinstance(each, str) else _fields(each, f"{place}[{number}]", known)
        found.append(SecretReference(**fields))
    return tuple(found)


def _kind(written: Any) -> str:
    words = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value", type(None): "nothing"}
    return "a number" if type(written) in (int, float) else words.get(type(written), type(written).__name__)


_TASK: dict[str, _Part] = {
    "type": _filled_text,
    "task_type_version": _number,
    "name": _text,
    "id": _identifier,
    "custom": _json_object,
    "config": _texts_by_name,
    "sql": _sql,
    "container": _container,
    "k8s_pod": _json_object,
    "interface": _interface,
    "secrets": _secrets,
}
