"""The calls that a run is made of, whoever answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from connectors.models import LogPage, Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate

__all__ = ["Calls", "OddResource"]


@dataclass(frozen=True)
class OddResource(Resource):
    """A resource of a job in a state that its connector does not know."""

    unknown_states: tuple[str, ...] = ()

    @classmethod
    def of(cls, resource: Resource, unknown_states: tuple[str, ...]) -> OddResource:
        """The same, with these states."""
        known = {each.name: getattr(resource, each.name) for each in fields(Resource)}
        return cls(**known, unknown_states=unknown_states)


class Calls(Protocol):
    """A connector, in this process (:class:`connectors.local.InProcess`) or behind a server
    (:class:`connectors.local.ThroughServer`). Every method raises :class:`connectors.ConnectorError`.
    """

    async def kind(self, category: TaskCategory) -> Literal["async", "sync"]:
        """Whether a task of this type is created and polled, or carried out by :meth:`do`.

        :raises NotFound: nothing serves it.
        """

    async def create(
        self,
        template: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
    ) -> bytes:
        """Start a job; returns its resource meta."""

    async def do(
        self,
        template: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
    ) -> Resource:
        """Carry out a sync connector's call."""

    async def get(self, category: TaskCategory, meta: bytes, *, output_prefix: str = "") -> Resource:
        """The job's state."""

    async def delete(self, category: TaskCategory, meta: bytes) -> None:
        """Cancel the job. Once this returns, nothing is left to be done for it by this process."""

    async def get_logs(self, category: TaskCategory, meta: bytes, *, lines: int = 0, token: str = "") -> LogPage:
        """A page of the job's log."""
