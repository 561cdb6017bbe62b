"""Which secrets a connector may read in a call, and from where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from connectors._engine.requests import Caller
from connectors._registry import Registered
from connectors.models import TaskExecutionMetadata
from connectors.secrets import (
    EnvironmentSecrets,
    FileSecrets,
    RequestSecrets,
    SecretRules,
    Secrets,
    SecretScope,
    SecretSource,
)

__all__ = ["REQUEST", "PluginSecrets", "SecretAccess"]

REQUEST: Final = RequestSecrets({})
"""Stands, among the sources, for what each request brings."""


@dataclass(frozen=True)
class PluginSecrets:
    """The operator's word on the secrets of one plugin."""

    names: tuple[str, ...] = ()
    """That it may read beside those that it declares; ``*`` and ``?`` are wildcards."""
    by_project: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """As in :class:`connectors.secrets.SecretRules`."""


class SecretAccess:
    """Gives each call its secrets."""

    def __init__(
        self,
        registry: Iterable[Registered],
        sources: Sequence[SecretSource] | None = None,
        plugins: Mapping[str, PluginSecrets] | None = None,
    ) -> None:
        """:param sources: in the order in which they are asked, :data:`REQUEST` among them. :param plugins: by the
        plugin's name.
        """
        self._sources = (REQUEST, EnvironmentSecrets(), FileSecrets()) if sources is None else tuple(sources)
        everything = list(registry)
        declared: dict[str, set[str]] = {}
        for item in everything:
            declared.setdefault(item.plugin, set()).update(item.connector.secret_names or ())
        self._rules = {item.category: _rules(item, declared, plugins or {}) for item in everything}

    def of_call(self, registered: Registered, caller: Caller, metadata: TaskExecutionMetadata | None = None) -> Secrets:
        """The secrets of one call. ``metadata`` is that of a create; other calls have none."""
        sources = self._sources
        if caller.secrets:
            sources = tuple(RequestSecrets(caller.secrets) if source is REQUEST else source for source in sources)
        return Secrets(sources, rules=self._rules.get(registered.category), scope=_scope(metadata))

    async def aclose(self) -> None:
        """Close the sources."""
        for source in self._sources:
            await source.aclose()


def _rules(item: Registered, declared: Mapping[str, set[str]], plugins: Mapping[str, PluginSecrets]) -> SecretRules:
    own, settings = item.connector.secret_names, plugins.get(item.plugin, PluginSecrets())
    names = None if own is None and not settings.names else (*(own or ()), *settings.names)
    others = {name for plugin, theirs in declared.items() if plugin != item.plugin for name in theirs}
    return SecretRules(names, frozenset(others), bare_variables=False, by_project=settings.by_project)


def _scope(metadata: TaskExecutionMetadata | None) -> SecretScope | None:
    if metadata is None:
        return None
    execution = metadata.task_execution_id
    if execution is None:
        return SecretScope(metadata.namespace)
    task = execution.task_id
    return SecretScope(metadata.namespace, execution.project or task.project, execution.domain or task.domain)
