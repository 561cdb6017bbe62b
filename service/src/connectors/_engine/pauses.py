"""The kill switch: task types, or a plugin's, for which nothing new is begun while jobs that there are go on."""

from __future__ import annotations

from collections.abc import Collection

from connectors.errors import Unavailable

__all__ = ["EVERYTHING", "Paused", "Pauses"]

EVERYTHING = "*"


class Paused(Unavailable):
    """Nothing new is begun here for now: the operator has paused it."""

    proves_no_job = True


class Pauses:
    """What is paused in one server. It holds for what comes after: a create that has reached its platform goes on."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()

    @property
    def names(self) -> Collection[str]:
        """Task types and plugins; ``*`` is everything."""
        return self._names

    def set(self, names: Collection[str]) -> None:
        """Pause these, and nothing else."""
        self._names = frozenset(names)

    def hold(self, task_type: str, plugin: str = "") -> bool:
        """Whether the task type is paused, by its own name or its plugin's."""
        return bool(self._names) and not self._names.isdisjoint((task_type, plugin, EVERYTHING))

    def refuse(self, task_type: str, plugin: str = "") -> None:
        """:raises Paused: the task type is."""
        if self.hold(task_type, plugin):
            raise Paused(f"{task_type} is paused here by the service's operator: nothing new is begun")
