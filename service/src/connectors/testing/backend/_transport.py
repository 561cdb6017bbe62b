"""How the backend's calls reach the service's servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, Self

from connectors.client import ConnectorClient
from connectors.models import Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate
from connectors.testing.backend import _tasks

__all__ = ["ClientTransport", "Connect", "Transport"]


class Transport(Protocol):
    """Calls servers in turn: only those that can be reached, as gRPC's ``round_robin`` does. It retries nothing but
    what a server says it has not begun.

    Its methods raise :class:`connectors.client.CallFailed`.
    """

    async def create(
        self,
        task: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str,
        metadata: TaskExecutionMetadata,
        secrets: Mapping[str, str],
    ) -> bytes:
        """CreateTask: the resource meta."""
        ...

    async def get(
        self, category: TaskCategory, meta: bytes, *, output_prefix: str, secrets: Mapping[str, str]
    ) -> Resource:
        """GetTask."""
        ...

    async def delete(self, category: TaskCategory, meta: bytes, *, secrets: Mapping[str, str]) -> None:
        """DeleteTask."""
        ...


Connect = Callable[[Sequence[str], _tasks.Protocol, float | None], AbstractAsyncContextManager[Transport]]
"""Opens a transport: to these addresses, over this protocol, with this deadline (seconds; None: none) for each call."""


class ClientTransport:
    """The default: :class:`connectors.client.ConnectorClient`. Use it as an asynchronous context."""

    def __init__(self, endpoints: Sequence[str], protocol: _tasks.Protocol, deadline: float | None) -> None:
        self._client = ConnectorClient(endpoints, protocol, timeout=deadline)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    async def create(
        self,
        task: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str,
        metadata: TaskExecutionMetadata,
        secrets: Mapping[str, str],
    ) -> bytes:
        """CreateTask: the resource meta."""
        return await self._client.create(task, inputs, output_prefix=output_prefix, metadata=metadata, secrets=secrets)

    async def get(
        self, category: TaskCategory, meta: bytes, *, output_prefix: str, secrets: Mapping[str, str]
    ) -> Resource:
        """GetTask."""
        return await self._client.get(category, meta, output_prefix=output_prefix, secrets=secrets)

    async def delete(self, category: TaskCategory, meta: bytes, *, secrets: Mapping[str, str]) -> None:
        """DeleteTask."""
        await self._client.delete(category, meta, secrets=secrets)
