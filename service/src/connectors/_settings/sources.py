"""Where settings come from beside the flags, and the error that names the place at fault."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

__all__ = ["FILE_ONLY", "PREFIX", "ConfigFile", "Environment", "SettingsError", "flag_of", "nearest", "variable_of"]

PREFIX = "CONNECTORS_"
FILE_ONLY = frozenset({"connectors", "plugins", "secrets"})
"""Tables of the file; no flag and no variable stands for them."""
_DEFAULT_FILE = Path("connectors.toml")
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


class SettingsError(Exception):
    """One or more settings cannot be used. Each problem is one line, fit for the operator, and holds no secret."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def variable_of(field: str) -> str:
    """The variable that sets a field."""
    return PREFIX + field.upper()


def flag_of(field: str) -> str:
    """The flag that sets a field."""
    return "--" + field.replace("_", "-")


def nearest(name: str, known: Iterable[str], *, before: str = "", after: str = "") -> str:
    """A hint at what was meant, or "".

    :param before: with ``after``, what the operator writes around each of ``known``; it is not compared.
    """
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {before + close[0] + after!r}?" if close else ""


class Environment(PydanticBaseSettingsSource):
    """The variables ``CONNECTORS_<FIELD>``. An empty one counts as absent: so compose files leave one out."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value = None if field_name in FILE_ONLY else os.environ.get(variable_of(field_name))
        # Kubernetes describes a Service that is called "connectors" to every pod of its namespace, as
        # CONNECTORS_PORT=tcp://…
        if not value or (field_name.endswith("port") and _SERVICE_LINK.match(value)):
            value = None
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class ConfigFile(PydanticBaseSettingsSource):
    """A TOML file. Keys are the fields' names, with ``_`` or ``-``."""

    def __init__(self, settings_cls: type[BaseSettings], named: str | Path | None) -> None:
        """:param named: by the operator; None for the default, which need not exist."""
        super().__init__(settings_cls)
        self.path = Path(named) if named else _DEFAULT_FILE
        self._is_named = bool(named)
        self._values: dict[str, Any] | None = None

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The file's values by field.

        :raises SettingsError: the file cannot be read, is not TOML, or holds a key that is no setting.
        """
        if self._values is None:
            self._values = self._by_field(self._read())
        return self._values

    def _read(self) -> Mapping[str, Any]:
        try:
            with self.path.open("rb") as file:
                return tomllib.load(file)
        except FileNotFoundError:
            if not self._is_named:
                return {}
            raise SettingsError([f"{self.path}: there is no such file"]) from None
        except OSError as error:
            raise SettingsError([f"{self.path}: cannot be read: {error.strerror}"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError([f"{self.path}: is not valid TOML: {error}"]) from error

    def _by_field(self, table: Mapping[str, Any]) -> dict[str, Any]:
        known = self.settings_cls.model_fields.keys() - {"config"}
        values: dict[str, Any] = {}
        problems = []
        for key, value in table.items():
            field = key.replace("-", "_")
            if field not in known:
                problems.append(f"{key} in {self.path}: there is no such setting{nearest(field, known)}")
            elif field in values:
                problems.append(f"{key} in {self.path}: is given twice, as {field} and as {field.replace('_', '-')}")
            else:
                values[field] = value
        if problems:
            raise SettingsError(problems)
        return values
