"""Connectors behind a server, called as the backends call them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, Self

from connectors.client import CallFailed, ConnectorClient
from connectors.errors import (
    Conflict,
    ConnectorError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from connectors.models import LogPage, Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate

__all__ = ["ThroughServer"]

_ERRORS: Mapping[str, type[ConnectorError]] = {
    "ABORTED": Conflict,
    "ALREADY_EXISTS": Conflict,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "FAILED_PRECONDITION": FailedPrecondition,
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": NotFound,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": RateLimited,
    "UNAUTHENTICATED": Unauthenticated,
    "UNAVAILABLE": Unavailable,
    "UNIMPLEMENTED": Unimplemented,
}


class ThroughServer:
    """The connectors of a server, or of several that share a store. It implements :class:`connectors.local.Calls`.

    Every method raises :class:`connectors.ConnectorError`: the class that the answer's status stands for, from the
    :class:`connectors.client.CallFailed` that has the status itself.
    """

    def __init__(self, client: ConnectorClient, *, secrets: Mapping[str, str] | None = None) -> None:
        """:param client: entered. :param secrets: values by name, sent with each call that Flyte 2 sends them with."""
        self._client = client
        self._secrets = secrets
        self._kinds: dict[TaskCategory, Literal["async", "sync"]] = {}

    @classmethod
    @asynccontextmanager
    async def at(cls, addresses: str | Iterable[str], **options: Any) -> AsyncIterator[Self]:
        """With a client of its own, for as long as it is entered.

        :param addresses: ``host:port``, one or several.
        :param options: those of :class:`connectors.client.ConnectorClient`.
        """
        async with ConnectorClient(addresses, **options) as client:
            yield cls(client)

    async def kind(self, category: TaskCategory) -> Literal["async", "sync"]:
        """As the server lists it; over Flyte 2 every connector has jobs. :raises NotFound: it is not listed."""
        if category not in self._kinds:
            with _as_errors():
                listed = await self._client.list_connectors()
            self._kinds = {each: "sync" if item.is_sync else "async" for item in listed for each in item.categories}
        try:
            return self._kinds[category]
        except KeyError:
            from connectors._settings import nearest  # noqa: PLC0415 - see the package's docstring

            known = ", ".join(sorted(map(str, self._kinds))) or "none"
            close = nearest(category.name, {each.name for each in self._kinds} - {category.name})
            raise NotFound(f"the server has no connector for {category}; there are: {known}{close}") from None

    async def create(
        self,
        template: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
    ) -> bytes:
        """Start a job; returns its resource meta. Each call starts another."""
        with _as_errors():
            return await self._client.create(
                template,
                inputs,
                output_prefix=output_prefix,
                metadata=metadata,
                secrets=self._secrets,
                idempotency_key=str(uuid.uuid4()),
            )

    async def do(
        self,
        template: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
    ) -> Resource:
        """Carry out a sync connector's call."""
        with _as_errors():
            return await self._client.do(
                template, inputs, output_prefix=output_prefix, metadata=metadata, idempotency_key=str(uuid.uuid4())
            )

    async def get(self, category: TaskCategory, meta: bytes, *, output_prefix: str = "") -> Resource:
        """The job's state."""
        with _as_errors():
            return await self._client.get(category, meta, output_prefix=output_prefix, secrets=self._secrets)

    async def delete(self, category: TaskCategory, meta: bytes) -> None:
        """Cancel the job, or have the server see to it."""
        with _as_errors():
            await self._client.delete(category, meta, secrets=self._secrets)

    async def get_logs(self, category: TaskCategory, meta: bytes, *, lines: int = 0, token: str = "") -> LogPage:
        """A page of the job's log."""
        with _as_errors():
            return await self._client.get_logs(category, meta, lines=lines, token=token)


@contextmanager
def _as_errors() -> Iterator[None]:
    try:
        yield
    except CallFailed as failure:
        raise _ERRORS.get(failure.status, ConnectorError)(f"{failure.status}: {failure.message}") from failure
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
