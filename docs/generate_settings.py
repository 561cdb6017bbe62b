"""Writes the tables of operate/settings.md from the code: the server's settings, and those of every plugin in plugins/.

    python docs/generate_settings.py            write the tables anew
    python docs/generate_settings.py --check    compare them; exit 1 and say so where they differ

The page's own sentences stand between the tables and are kept. A table stands between ``<!-- server -->``, or another
name of ``TABLES``, and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from connectors._registry import Registry
from connectors._settings import FILE_ONLY, Settings, flag_of
from connectors._settings.secrets import SecretsOfPlugin
from connectors._settings.settings import Bytes, LimitsOfConnector, PerSecond, PositiveSeconds, Seconds
from connectors._settings.sources import variable_of

__all__ = ["PAGE", "generated"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "operate" / "settings.md"
_TABLE = re.compile(r"^(?P<begin><!-- (?P<name>[a-z-]+) -->)\n.*?^(?P<end><!-- end -->)$", re.MULTILINE | re.DOTALL)
_UNITS = ((Seconds, "seconds"), (PositiveSeconds, "seconds"), (Bytes, "bytes"), (PerSecond, "per second"))
_HEAD = ("setting", "value", "default", "meaning")


def main() -> int:
    """Runs the command line.

    :returns: 0, or 1 where ``--check`` found a difference.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the page and write nothing")
    check: bool = parser.parse_args().check
    written = PAGE.read_text("utf-8")
    if check and written != generated(written):
        sys.stderr.write(f"{PAGE.relative_to(ROOT)} is not what the code says: make docs\n")
        return 1
    PAGE.write_text(generated(written), "utf-8")
    return 0


def generated(page: str) -> str:
    """The page, with its tables as the code has them."""
    return _TABLE.sub(lambda found: f"{found['begin']}\n{TABLES[found['name']]()}\n{found['end']}", page)


def _server() -> str:
    """A table for each section of ``connectors serve --help``."""
    hints = get_type_hints(Settings, include_extras=True)
    schema = Settings.model_json_schema()["properties"]
    sections: dict[str, list[tuple[str, ...]]] = {}
    for name, field in Settings.model_fields.items():
        if name in FILE_ONLY:
            continue
        flag = f"`{flag_of(name)}`" + (f", `--no-{flag_of(name)[2:]}`" if field.annotation is bool else "")
        unit = next((unit for kind, unit in _UNITS if hints[name] in (kind, kind | None)), "")
        key = "" if name == "config" else f"<br>`{name}`"
        row = (
            f"{flag}<br>`{variable_of(name)}`{key}",
            _value(schema[name], unit),
            _default(field.default),
            _in_a_cell(field.description or ""),
        )
        sections.setdefault(schema[name]["section"], []).append(row)
    return "\n".join(f"\n### {section}\n\n{_table(_HEAD, rows)}" for section, rows in sections.items())


def _limits() -> str:
    schema, hints = LimitsOfConnector.model_json_schema()["properties"], get_type_hints(LimitsOfConnector)
    rows = []
    for name in hints:
        unit = "per second" if name == "retry_budget" else ""
        rows.append((f"`{name}`", _value(schema[name], unit), f"`{flag_of(f'connector_{name}')}`"))
    return "\n" + _table(("key", "value", "where it is left out"), rows)


def _secrets() -> str:
    documented = _docstrings(SecretsOfPlugin)
    return "\n" + _table(("key", "secrets"), ((f"`{name}`", documented[name]) for name in SecretsOfPlugin.model_fields))


def _plugins() -> str:
    """A table for each plugin in plugins/."""
    ours = {
        name
        for manifest in ROOT.glob("plugins/*/pyproject.toml")
        for name in tomllib.loads(manifest.read_text("utf-8"))["project"]["entry-points"]["connectors"]
    }
    kinds: dict[str, dict[type[Any], None]] = {}
    for found in Registry.discover():
        if found.plugin in ours:
            kinds.setdefault(found.plugin, {})[type(found.connector).Settings] = None
    if kinds.keys() != ours:
        raise LookupError(f"not installed, or they cannot be loaded: {sorted(ours - kinds.keys())}")
    return "\n".join(
        f"\n### {plugin}\n\n{_table(_HEAD, (row for kind in kinds[plugin] for row in _rows_of_plugin(plugin, kind)))}"
        for plugin in sorted(kinds)
    )


def _rows_of_plugin(plugin: str, kind: type[Any]) -> Iterable[tuple[str, ...]]:
    documented, hints = _docstrings(kind), get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        variable = f"CONNECTORS_{plugin.upper().replace('-', '_')}__{field.name.upper()}"
        schema = TypeAdapter(hints[field.name]).json_schema()
        setting = f"`{variable}`<br>`{field.name}`"
        yield setting, _value(schema, ""), _default(_default_of(field)), documented[field.name]


def _default_of(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


TABLES: Mapping[str, Callable[[], str]] = {
    "server": _server,
    "limits": _limits,
    "secrets": _secrets,
    "plugins": _plugins,
}


# --- cells


def _value(schema: Mapping[str, Any], unit: str) -> str:
    """What may be written, from the JSON schema of the setting."""
    schema = next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    match schema["type"]:
        case "boolean":
            return "true or false"
        case "array":
            inner = _value(schema["items"], "")
            return "texts, separated by commas" if inner == "text" else f"some of {inner}, separated by commas"
        case "object":
            return "a table; in a variable, JSON"
        case "string":
            return "a path" if schema.get("format") == "path" else "text"
        case kind:
            number = {"integer": "a whole number", "number": "a number"}[kind]
            words = f"{number} {unit}" if unit.startswith("per ") else unit or number
            return ", ".join(filter(None, (words, _range(schema))))


def _range(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum", 0), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        lower = f"above {_number(schema['exclusiveMinimum'])}"
        return lower if most is None else f"{lower}, at most {_number(most)}"
    return "" if most is None else f"{_number(least)} to {_number(most)}"


def _number(value: float) -> str:
    return f"{value:,}".removesuffix(".0")


def _default(value: Any) -> str:
    match value:
        case None | "" | ():
            return ""
        case tuple():
            return ", ".join(f"`{each}`" for each in value)
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"`{value:.15g}`"
        case Mapping() if not value:
            return ""
        case _:
            return f"`{value}`"


def _docstrings(kind: type[Any]) -> dict[str, str]:
    """What stands under each field of a class, as the cell of a table."""
    [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"{kind.__name__} is no class")
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = _in_a_cell(text.replace("``", "`"))
    return found


def _in_a_cell(text: str) -> str:
    pieces = " ".join(text.split()).replace("|", "\\|").split("`")  # every other one is code, and shown as it is
    return "`".join(piece if number % 2 else piece.replace("<", "&lt;") for number, piece in enumerate(pieces))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * (lines[0].count(" | ") + 1) + "|", *lines[1:]]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
