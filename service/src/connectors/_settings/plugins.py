"""The plugins' own settings: gathered here, validated by the registry, which knows what each plugin declares."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from connectors._registry import PluginSetting
from connectors._settings.settings import Settings
from connectors._settings.sources import FILE_ONLY, PREFIX, ConfigFile, Environment, SettingsError, nearest

__all__ = ["notices", "plugin_settings"]

_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST=|_SERVICE_PORT(_.*)?=|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=|_PORT=\w+://"
)
"""What Kubernetes puts into the environment of every pod for a Service of this name."""


def plugin_settings(settings: Settings, plugins: Iterable[str]) -> Mapping[str, Mapping[str, PluginSetting]]:
    """The raw settings of each installed plugin, by plugin and field; the environment wins over the file.

    :param plugins: the names of those that are installed.
    :raises SettingsError: the file has settings, or secrets, of a plugin that is not installed.
    """
    installed = sorted(set(plugins))
    path = ConfigFile(Settings, settings.config or Environment(Settings)().get("config")).path
    tables = (("plugins", settings.plugins), ("secrets", settings.secrets))
    unknown = [
        f"[{table}.{name}] in {path}: no such plugin is installed{nearest(name, installed)}"
        for table, names in tables
        for name in names
        if name not in installed
    ]
    if unknown:
        raise SettingsError(unknown)
    found: dict[str, dict[str, PluginSetting]] = {}
    for name in installed:
        own = found[name] = {
            key.replace("-", "_").lower(): PluginSetting(value, f"[plugins.{name}] {key} in {path}")
            for key, value in settings.plugins.get(name, {}).items()
        }
        for variable, text in os.environ.items():
            prefix, _, field = variable.partition("__")
            if field and text and prefix == PREFIX + _in_capitals(name):
                own[field.lower()] = PluginSetting(text, variable, is_text=True)
    return found


def notices(settings: Settings, plugins: Iterable[str], task_types: Iterable[str]) -> list[str]:
    """What may be a mistake and is no error, a line each: variables like a setting's, limits of task types not served.

    :param plugins: the names of those that are installed. :param task_types: those that are served.
    """
    flags = {name.upper() for name in Settings.model_fields.keys() - FILE_ONLY}
    sections = {_in_capitals(name) for name in plugins}
    lines = []
    for variable, text in sorted(os.environ.items()):
        if not variable.startswith(PREFIX) or _SERVICE_LINK.search(f"{variable}={text}"):
            continue
        # compared without what all variables have in common, which would make any two of them alike
        name, separator, field = variable.removeprefix(PREFIX).partition("__")
        known = sections if separator else flags
        hint = "" if name in known else nearest(name, known, before=PREFIX, after=separator + field)
        if hint:
            lines.append(f"{variable} is not a setting{hint}")
    served = sorted(set(task_types))
    named = [("[connectors.…]", name) for name in settings.connectors]
    named += [("allow_task_types", name) for name in settings.allow_task_types or ()]
    lines += [
        f"{place} names the task type {name!r}, which no plugin serves{nearest(name, served)}"
        for place, name in named
        if name not in served
    ]
    return lines


def _in_capitals(plugin: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", plugin).upper()
