"""The registry that the settings ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase

from connectors._registry import Registry, installed_entry_points
from connectors._settings import Settings, SettingsError, nearest, notices, plugin_settings

__all__ = ["discover", "mistakes", "nothing_served", "refuse_bad_settings"]

_NAMED = 20  # plugins, in one line


def discover(settings: Settings) -> Registry:
    """Load the plugins that are installed and wanted.

    :raises SettingsError: the file has settings of a plugin that is not installed.
    """
    installed = installed_entry_points()
    own = plugin_settings(settings, {entry.name for entry in installed})
    return Registry.discover(installed, selection=settings.selection(), settings=own)


def refuse_bad_settings(registry: Registry) -> None:
    """A plugin's bad setting is the operator's, and stops a server from starting as any other bad setting does.

    :raises SettingsError: there is one.
    """
    problems = [str(failure) for failure in registry.failures if failure.is_setting]
    if problems:
        raise SettingsError(problems)


def mistakes(settings: Settings, registry: Registry) -> Sequence[str]:
    """What may be a mistake in the settings and stops nothing, a line each."""
    declared: dict[str, set[str]] = {}
    for item in registry:
        declared.setdefault(item.plugin, set()).update(field.name for field in fields(item.connector.Settings))
    lines = notices(settings, registry.installed, {item.category.name for item in registry}, declared)
    return [*lines, *_names_not_asked_for(settings, registry)]


def _names_not_asked_for(settings: Settings, registry: Registry) -> Iterator[str]:
    for plugin, own in settings.secrets.items():
        kinds = [item.connector.secret_names for item in registry if item.plugin == plugin]
        asked_for = {*own.names, *(name for names in kinds for name in names or ())}
        if not kinds or None in kinds:
            continue  # it is not served, or asks for what it likes
        for place, names in own.projects.items():
            for name in names:
                if not any(fnmatchcase(name, each) for each in asked_for):
                    yield (
                        f"[secrets.{plugin}.projects] {place!r} names the secret {name!r}, which the plugin does not "
                        f"ask for{nearest(name, asked_for)}"
                    )


def nothing_served(settings: Settings, registry: Registry) -> str:
    """Why an empty registry is empty, in a line: what is left out by which setting, and what cannot be used."""
    installed = registry.installed
    if not installed:
        return "no connector is served: no plugin is installed; install one, such as connectors-bigquery"
    denied = installed & set(settings.deny_plugins)
    not_allowed = set() if settings.allow_plugins is None else installed - denied - set(settings.allow_plugins)
    loaded = installed - denied - not_allowed
    unusable = {failure.plugin for failure in registry.failures}
    reasons = {
        "--deny-plugins leaves out": denied,
        "--allow-plugins leaves out": not_allowed,
        "cannot be used:": unusable,
        "task types left out by --allow-task-types or --deny-task-types:": loaded - unusable,
    }
    texts = [f"{reason} {_named(plugins)}" for reason, plugins in reasons.items() if plugins]
    return f"no connector is served: {'; '.join(texts)}"


def _named(plugins: Collection[str]) -> str:
    more = f" and {len(plugins) - _NAMED} more" if len(plugins) > _NAMED else ""
    return ", ".join(sorted(plugins)[:_NAMED]) + more
