"""Reads the settings, and says of a bad one where it stands and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from connectors._registry.plugin_settings import expectation
from connectors._settings.secrets import SecretsOfPlugin
from connectors._settings.settings import LimitsOfConnector, Settings
from connectors._settings.sources import (
    FILE_ONLY,
    ConfigFile,
    Environment,
    SettingsError,
    flag_of,
    nearest,
    variable_of,
)

__all__ = ["load"]

_NOT_SHOWN = frozenset({"store", "plugins", "secrets", "egress_proxy"})  # may hold a password
_IN_TABLES = {"connectors": LimitsOfConnector.model_fields, "secrets": SecretsOfPlugin.model_fields}


def load(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this process.

    :param flags: by field; None where the flag was not given.
    :raises SettingsError: a line for each problem: the setting, where it was set, and what was expected.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [_problem(details, given) for details in error.errors(include_url=False)]
        # A union reports each of its members: of one place, the first says enough.
        raise SettingsError(list(dict.fromkeys(problems))) from None


def _problem(details: ErrorDetails, flags: Mapping[str, Any]) -> str:
    where = [str(part) for part in details["loc"]]
    if not where:
        return expectation(details)
    field = where[0]
    if details["type"] == "extra_forbidden":
        known = Settings.model_fields if len(where) == 1 else _IN_TABLES[field]
        return f"{_place(where, flags)}: there is no such setting{nearest(where[-1], known)}"
    text = f"{_place(where, flags)}: {expectation(details)}"
    value = details["input"]
    return text if field in _NOT_SHOWN or isinstance(value, dict) else f"{text}, not {_shown(value)}"


def _place(where: list[str], flags: Mapping[str, Any]) -> str:
    field = where[0]
    if field in flags:
        return flag_of(field)
    environment = Environment(Settings)()
    if field in environment:
        return variable_of(field)
    path = ConfigFile(Settings, flags.get("config") or environment.get("config")).path
    if field in FILE_ONLY:
        table, inner = ".".join(where[:2]), " ".join(where[2:3])
        return f"[{table}] {inner} in {path}" if inner else f"[{table}] in {path}"
    return f"{field} in {path}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
