"""The server's settings: one frozen object, read once from flags, environment, file and defaults, in that order of
precedence.

Nothing else in the project reads a setting from anywhere, but for the platforms' own variables, which their plugins
read.
"""

from connectors._settings.loading import load
from connectors._settings.plugins import notices, plugin_settings
from connectors._settings.settings import Settings, address
from connectors._settings.sources import FILE_ONLY, SettingsError, flag_of, nearest

__all__ = [
    "FILE_ONLY",
    "Settings",
    "SettingsError",
    "address",
    "flag_of",
    "load",
    "nearest",
    "notices",
    "plugin_settings",
]
