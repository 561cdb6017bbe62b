"""Which connectors there are: found through the ``connectors`` entry points, checked, then frozen in a
:class:`Registry`.

A plugin is an entry point of that group. Its object is a connector class, an instance, or a callable without
arguments that returns one of these or several. What cannot be used becomes a :class:`LoadFailure`; the others go on.
Nothing is registered by an import's side effect. This package starts no connector and calls none.
"""

from connectors._registry.plugin_settings import PluginSetting
from connectors._registry.records import LoadFailure, Registered, Selection, describe, one_line
from connectors._registry.registry import GROUP, Registry, installed_entry_points

__all__ = [
    "GROUP",
    "LoadFailure",
    "PluginSetting",
    "Registered",
    "Registry",
    "Selection",
    "describe",
    "installed_entry_points",
    "one_line",
]
