"""The registry that the settings ask for."""

from __future__ import annotations

from collections.abc import Sequence

from connectors._registry import Registry, installed_entry_points
from connectors._settings import Settings, SettingsError, notices, plugin_settings

__all__ = ["discover", "mistakes", "refuse_bad_settings"]


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
    plugins = {entry.name for entry in installed_entry_points()}
    return notices(settings, plugins, {item.category.name for item in registry})
