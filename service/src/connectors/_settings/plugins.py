"""The plugins' own settings: gathered here, validated by the registry, which knows what each plugin declares."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping

from connectors._registry import PluginSetting
from connectors._settings.settings import Settings
from connectors._settings.sources import FILE_ONLY, PREFIX, ConfigFile, Environment, SettingsError, nearest

__all__ = ["notices", "plugin_settings"]

_WITHOUT_S = "CONNECTOR_"
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


def notices(
    settings: Settings,
    plugins: Iterable[str],
    task_types: Iterable[str],
    fields: Mapping[str, Iterable[str]] | None = None,
) -> list[str]:
    """What may be a mistake and is no error, a line each: variables like a setting's, limits of task types not served.

    :param plugins: the names of those that are installed. :param task_types: those that are served.
    :param fields: by plugin, those of its settings, as far as they are known.
    """
    flags = {name.upper() for name in Settings.model_fields.keys() - FILE_ONLY}
    sections = {_in_capitals(name) for name in plugins}
    own = {_in_capitals(name): {field.upper() for field in names} for name, names in (fields or {}).items()}
    lines = []
    for variable, text in sorted(os.environ.items()):
        if _SERVICE_LINK.search(f"{variable}={text}"):
            continue
        if hint := _meant(variable, flags, sections, own):
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


def _meant(
    variable: str, flags: Collection[str], sections: Collection[str], fields: Mapping[str, Collection[str]]
) -> str:
    """A hint at the setting that a variable resembles; "" where it resembles none, or is one."""
    prefix = next((each for each in (PREFIX, _WITHOUT_S) if variable.startswith(each)), None)
    if prefix is None:
        return ""
    # compared without what all variables have in common, which would make any two of them alike
    name, separator, field = variable.removeprefix(prefix).partition("__")
    known = sections if separator else flags
    if prefix == _WITHOUT_S:  # may well be another program's: only what is otherwise right is taken for ours
        return nearest(name, [name], before=PREFIX, after=separator + field) if name in known else ""
    if name in known:
        return ""
    for section, names in () if separator else fields.items():
        rest = name.removeprefix(f"{section}_")
        if rest != name and (hint := nearest(rest, names, before=f"{PREFIX}{section}__")):
            return hint
    return nearest(name, known, before=PREFIX, after=separator + field)


def _in_capitals(plugin: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", plugin).upper()
