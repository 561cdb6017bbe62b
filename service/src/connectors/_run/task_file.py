"""A task's file: YAML, JSON, or what Flyte's own commands serialise."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # it publishes no types

from connectors._messages.serialised import read_serialised_template
from connectors._run.mistakes import Mistake
from connectors._run.task_form import task_of
from connectors.errors import InvalidRequest
from connectors.models import TaskTemplate

__all__ = ["read_task"]

_MOST_BYTES = 16 * 1024 * 1024
_ARCHIVES = (".tgz", ".gz", ".zip", ".tar")


def read_task(path: Path) -> TaskTemplate:
    """The task in a file whose name ends with .yaml, .yml, .json or .pb.

    :raises Mistake: the file cannot be read, or holds no task; the text begins with its name.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in _ARCHIVES:
            raise Mistake("is an archive; unpack it, and name the .pb file of a task in it")
        if suffix not in _READERS:
            raise Mistake(f"a task's file ends with {', '.join(_READERS)}")
        data = path.read_bytes()
        if len(data) > _MOST_BYTES:
            raise Mistake(f"is larger than {_MOST_BYTES >> 20} MiB")
        return _READERS[suffix](data)
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise Mistake(f"{path}: is nested too deep") from None
    except Mistake as mistake:
        raise Mistake(f"{path}: {mistake}") from None


def _serialised(data: bytes) -> TaskTemplate:
    try:
        return read_serialised_template(data)
    except InvalidRequest as error:
        raise Mistake(f"{error.message}; of what pyflyte serialises, tasks are the files …_1.pb") from None


def _yaml(data: bytes) -> TaskTemplate:
    try:
        # The loader is a SafeLoader with fewer types.
        written = yaml.load(data, _Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise Mistake(f"is no YAML: {_reason(error)}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise Mistake(f"is no YAML: {error}") from None
    return task_of(written)


def _reason(error: yaml.YAMLError) -> str:
    """In one line: PyYAML's own text has several, with the place drawn below the file's words."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    said = ", ".join(filter(None, (getattr(error, "context", ""), getattr(error, "problem", ""))))
    return f"{said} (line {mark.line + 1}, column {mark.column + 1})"


def _json(data: bytes) -> TaskTemplate:
    try:
        written = json.loads(data, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise Mistake("is no JSON: it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Mistake(f"is no JSON: {error}") from None
    return task_of(written)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Mistake(f"the key {key!r} is given twice")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # as above
    """YAML with the words of the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/, section 10.3): of 1.1's, ``no``
    would be false, ``12:30`` a number and a date no text. A key that is given twice is an error.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name, and replaced, not changed

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise Mistake(f"the key {key.value!r} is given twice (line {key.start_mark.line + 1})")
            seen.add(name or id(key))
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _number(of: type[int] | type[float]) -> Any:
    return lambda loader, node: of(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _pattern, _first in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _number(int))
_Loader.add_constructor("tag:yaml.org,2002:float", _number(float))

_READERS = {".yaml": _yaml, ".yml": _yaml, ".json": _json, ".pb": _serialised}
