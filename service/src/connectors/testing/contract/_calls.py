"""One connector, called as the service calls it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

from connectors.connector import AsyncConnectorBase, ResourceMeta, is_blocking
from connectors.context import Context
from connectors.errors import (
    Conflict,
    ConnectorError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from connectors.http import HttpClient
from connectors.models import TaskExecutionMetadata, TaskTemplate
from connectors.secrets import EnvironmentSecrets, RequestSecrets, SecretRules, Secrets, SecretScope
from connectors.testing.contract._case import AsyncCase, OperationName, SyncCase
from connectors.testing.faults import ProxiedRequest

__all__ = ["Calls", "Operation"]

_MEANS: Mapping[int, type[ConnectorError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
    500: Unavailable,
    502: Unavailable,
    503: Unavailable,
}
_TRIES = 6


@dataclass(frozen=True)
class Operation:
    """One of a connector's operations, with all that it needs at hand."""

    name: OperationName
    request: Callable[[ProxiedRequest], bool]
    """The one that carries it out."""
    run: Callable[[Context], Awaitable[Any]]
    context: Callable[..., Context]
    """A call's own: :meth:`Calls.context`."""
    is_blocking: bool
    """A thread cannot be cancelled."""
    errors: Mapping[int, type[ConnectorError] | None]
    """By status."""


class Calls:
    """A connector that was built and started, and the circumstances of its calls."""

    def __init__(self, case: AsyncCase | SyncCase, http: HttpClient) -> None:
        self.case = case
        self.connector = case.build()
        self._http = http

    async def __aenter__(self) -> Self:
        await self.connector.start(self._http)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.connector.aclose()

    def context(
        self, name: str = "create", *, key: str = "", seconds: float = 30.0, adopt_within: float = math.inf
    ) -> Context:
        """Of one call, with what the backends send with it: whose the job is comes with ``create`` and ``do`` alone,
        and where its results go does not come with ``delete``.

        :param key: "" is a new one.
        """
        metadata = self.case.metadata if name in {"create", "do"} else None
        return Context(
            http=self._http,
            secrets=self._secrets(metadata),
            deadline=asyncio.get_running_loop().time() + seconds,
            idempotency_key=(key or new_key()) if metadata is not None else "",
            output_prefix=self.case.output_prefix if name != "delete" else "",
            metadata=metadata,
            inputs=lambda: self.case.inputs if metadata is not None else {},
            protocol=self.case.protocol,
            adopt_within=adopt_within,
        )

    def _secrets(self, metadata: TaskExecutionMetadata | None) -> Secrets:
        """Those that the connector declared, as the service gives them."""
        owner = metadata.task_execution_id if metadata is not None else None
        scope = SecretScope(metadata.namespace if metadata is not None else "")
        if owner is not None:
            scope = replace(scope, project=owner.project, domain=owner.domain)
        rules = SecretRules(self.connector.secret_names, bare_variables=False)
        return Secrets([RequestSecrets(self.case.secrets), EnvironmentSecrets()], rules=rules, scope=scope)

    async def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """A method of the connector's, on the loop or in a thread, as it wants."""
        method = getattr(self.connector, name)
        if is_blocking(method):
            return await asyncio.to_thread(method, *arguments, **named)
        return await method(*arguments, **named)

    @property
    def dedupe(self) -> Literal["native", "search", "none"]:
        """What the connector says of its platform."""
        return self._async_connector.dedupe

    @property
    def finds_jobs(self) -> bool:
        """Whether a second create under a key finds the first one's job."""
        return self.dedupe != "none"

    @property
    def jobs_of_two_tries(self) -> int:
        """How many jobs a second create under a key leaves there."""
        return 1 if self.finds_jobs else 2

    @property
    def meta_type(self) -> type[ResourceMeta]:
        """What the connector's metas are."""
        return self._async_connector.meta_type

    @property
    def _async_connector(self) -> AsyncConnectorBase[Any]:
        if not isinstance(self.connector, AsyncConnectorBase):
            raise TypeError("a sync connector has no jobs")
        return self.connector

    async def create(self, key: str = "", *, ctx: Context | None = None, task: TaskTemplate | None = None) -> Any:
        """The meta of the case's task."""
        return await self.call("create", task or self.case.task, ctx or self.context(key=key))

    async def create_at_last(self, key: str) -> Any:
        """As the engine and the backend do: again, until there is a meta, but not after a proof that there is no job.

        :raises ConnectorError: the last of six tries' own.
        """
        for _ in range(_TRIES - 1):
            try:
                return await self.create(key)
            except ConnectorError as error:
                if error.proves_no_job and not error.retryable:
                    raise
        return await self.create(key)

    async def get(self, job: ResourceMeta, ctx: Context | None = None) -> Any:
        """The job's state."""
        return await self.call("get", job, ctx or self.context("get"))

    async def delete(self, job: ResourceMeta, ctx: Context | None = None) -> None:
        """Cancel the job."""
        await self.call("delete", job, ctx or self.context("delete"))

    async def jobs(self, key: str) -> int:
        """How many the platform has under a key."""
        if not isinstance(self.case, AsyncCase):
            raise TypeError("a sync connector has no jobs")
        found = self.case.jobs(key)
        return found if isinstance(found, int) else await found

    @property
    def operations(self) -> tuple[OperationName, ...]:
        """Those of this kind of connector."""
        return ("do",) if isinstance(self.case, SyncCase) else ("create", "get", "delete")

    async def operation(self, name: OperationName) -> Operation:
        """With its job made, and the connector's credentials fetched."""
        run: Callable[[Context], Awaitable[Any]]
        case = self.case
        if isinstance(case, SyncCase):
            await self.call("do", case.task, self.context("do"))
            request = case.calls

            def run(ctx: Context) -> Awaitable[Any]:
                return self.call("do", case.task, ctx)
        else:
            job = await self.create()
            request = {"create": case.creates, "get": case.gets, "delete": case.cancels}[name]

            def run(ctx: Context) -> Awaitable[Any]:
                return self.create(ctx=ctx) if name == "create" else self.call(name, job, ctx)

        errors = {**_MEANS, **({404: None} if name == "delete" else {}), **case.errors.get(name, {})}
        context = partial(self.context, name)
        return Operation(name, request, run, context, is_blocking(getattr(self.connector, name)), errors)


def new_key() -> str:
    """An idempotency key that nothing has."""
    return str(uuid4())
