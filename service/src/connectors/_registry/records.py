"""What the registry holds: connectors that can be called, failures, and which of them the operator wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from connectors.connector import AsyncConnectorBase, SyncConnectorBase
from connectors.models import TaskCategory

__all__ = ["FailureKind", "LoadFailure", "Registered", "Selection", "describe", "one_line"]

_LONGEST_REASON = 500

FailureKind = Literal[
    "import", "not_a_connector", "declaration", "settings", "constructor", "duplicate", "not_installed", "start"
]
"""At what a plugin, or one of its connectors, failed. A metric's label: it stays a short list."""


@dataclass(frozen=True)
class Registered:
    """A connector that can be called, and where it came from."""

    connector: AsyncConnectorBase[Any] | SyncConnectorBase
    category: TaskCategory
    plugin: str
    """The entry point's name."""
    distribution: str
    """"" where it is not known."""
    distribution_version: str
    kind: Literal["async", "sync"]


@dataclass(frozen=True)
class LoadFailure:
    """Why a plugin, or one of its connectors, cannot be used."""

    plugin: str
    distribution: str
    """"" where it is not known."""
    reason: str
    """One line, for the operator."""
    kind: FailureKind
    error: BaseException | None = field(default=None, repr=False, compare=False)
    """What was raised, for the log."""

    @property
    def is_setting(self) -> bool:
        """Whether the plugin's settings are at fault, not its code."""
        return self.kind == "settings"

    def __str__(self) -> str:
        source = f" of {self.distribution}" if self.distribution else ""
        return f"plugin {self.plugin!r}{source}: {self.reason}"


@dataclass(frozen=True)
class Selection:
    """Which plugins (by entry point name) and which task types are wanted. None allows all; deny wins over allow.

    A plugin that is not wanted is not even imported.
    """

    allow_plugins: frozenset[str] | None = None
    deny_plugins: frozenset[str] = frozenset()
    allow_task_types: frozenset[str] | None = None
    deny_task_types: frozenset[str] = frozenset()

    def wants_plugin(self, name: str) -> bool:
        """Whether the plugin is to be loaded."""
        return name not in self.deny_plugins and (self.allow_plugins is None or name in self.allow_plugins)

    def wants_task_type(self, name: str) -> bool:
        """Whether the task type is to be served."""
        return name not in self.deny_task_types and (self.allow_task_types is None or name in self.allow_task_types)


def describe(error: BaseException) -> str:
    """An exception as a phrase: its class, and its text where it has one."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def one_line(text: str) -> str:
    """``text`` without line breaks, at most 500 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
