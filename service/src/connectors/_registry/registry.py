"""The registry itself, and how it is filled."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import importlib_metadata

from connectors._registry.loading import distribution_name, load
from connectors._registry.plugin_settings import PluginSetting
from connectors._registry.records import LoadFailure, Registered, Selection
from connectors.errors import NotFound
from connectors.models import TaskCategory

__all__ = ["GROUP", "Registry", "installed_entry_points"]

GROUP = "connectors"
"""The entry points' group."""
_NAMED_IN_ERRORS = 20


def installed_entry_points() -> tuple[importlib_metadata.EntryPoint, ...]:
    """The entry points of the installed plugins. Reads the distributions' metadata; imports none of them."""
    return tuple(importlib_metadata.entry_points(group=GROUP))


class Registry:
    """The connectors by (task type, version), and what could not be loaded. It does not change."""

    def __init__(
        self,
        connectors: Iterable[Registered] = (),
        failures: Iterable[LoadFailure] = (),
        installed: Iterable[str] = (),
    ) -> None:
        """:raises ValueError: two connectors have the same task type and version."""
        # By name, then version: a caller that keeps the last one listed of each task type keeps the newest.
        self._connectors = tuple(sorted(connectors, key=lambda item: (item.category.name, item.category.version)))
        self._failures = tuple(failures)
        self._installed = frozenset(installed)
        self._by_category = {item.category: item for item in self._connectors}
        if len(self._by_category) != len(self._connectors):
            raise ValueError("two connectors have the same task type and version")

    @classmethod
    def discover(
        cls,
        entry_points: Iterable[importlib_metadata.EntryPoint] | None = None,
        *,
        selection: Selection | None = None,
        settings: Mapping[str, Mapping[str, PluginSetting]] | None = None,
    ) -> Registry:
        """Load the plugins. Never raises for a plugin's sake: what cannot be used is in :attr:`failures`.

        :param entry_points: None for those of the installed distributions.
        :param settings: by plugin, then by field.
        """
        wanted = selection or Selection()
        found = installed_entry_points() if entry_points is None else tuple(entry_points)
        accepted: dict[TaskCategory, Registered] = {}
        failures: list[LoadFailure] = []
        # In this order whatever the search path: of two plugins that claim a task type, it is always the same one
        # that gets it.
        for entry in sorted(found, key=lambda item: (distribution_name(item), item.name, item.value)):
            if not wanted.wants_plugin(entry.name):
                continue
            connectors, failed = load(entry, (settings or {}).get(entry.name, {}))
            failures += failed
            for registered in connectors:
                if not wanted.wants_task_type(registered.category.name):
                    continue
                first = accepted.setdefault(registered.category, registered)
                if first is not registered:
                    failures.append(_duplicate(first, registered))
        missing = (wanted.allow_plugins or frozenset()) - {entry.name for entry in found}
        failures += [
            LoadFailure(name, "", "on the allow-list, but not installed", "not_installed") for name in sorted(missing)
        ]
        return cls(accepted.values(), failures, {entry.name for entry in found})

    @property
    def connectors(self) -> Sequence[Registered]:
        """All of them, by task type and version."""
        return self._connectors

    @property
    def failures(self) -> Sequence[LoadFailure]:
        """What could not be loaded."""
        return self._failures

    @property
    def installed(self) -> frozenset[str]:
        """The names of all plugins that were found, wanted or not."""
        return self._installed

    def serves(self, category: TaskCategory) -> bool:
        """Whether there is a connector of a task type and version."""
        return category in self._by_category

    def find(self, category: TaskCategory) -> Registered:
        """The connector of a task type and version.

        :raises NotFound: there is none; the message names up to 20 that there are.
        """
        found = self._by_category.get(category)
        if found is None:
            raise NotFound(self._unknown(category))
        return found

    def without(self, failed: Mapping[TaskCategory, LoadFailure]) -> Registry:
        """This registry less some connectors: they loaded, and failed when they were started."""
        kept = [item for item in self._connectors if item.category not in failed]
        return Registry(kept, [*self._failures, *failed.values()], self._installed)

    def __iter__(self) -> Iterator[Registered]:
        return iter(self._connectors)

    def __len__(self) -> int:
        return len(self._connectors)

    def _unknown(self, category: TaskCategory) -> str:
        known = [str(item.category) for item in self._connectors]
        names = ", ".join(known[:_NAMED_IN_ERRORS]) or "none"
        more = f" and {len(known) - _NAMED_IN_ERRORS} more" if len(known) > _NAMED_IN_ERRORS else ""
        # reprlib cuts a name of any length, and shows what cannot be printed
        asked = f"{reprlib.repr(category.name)} in version {category.version}"
        return f"no connector here serves the task type {asked}; there are: {names}{more}"


def _duplicate(first: Registered, second: Registered) -> LoadFailure:
    ours, theirs = (item.distribution or "an unknown distribution" for item in (second, first))
    reason = (
        f"the task type {second.category} of {ours} is already served by plugin {first.plugin!r} of {theirs}:"
        " deny one of the two plugins"
    )
    return LoadFailure(second.plugin, second.distribution, reason, "duplicate")
