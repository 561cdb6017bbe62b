"""Calling a connector: its context, its time, its threads, and the retry loop around it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio

from connectors._engine.blocking import BlockingPools
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import bug
from connectors._engine.requests import Caller
from connectors._engine.retry import retrying
from connectors._registry import Registered
from connectors.context import Context
from connectors.errors import ConnectorError, DeadlineExceeded
from connectors.http import HttpClient
from connectors.models import TaskExecutionMetadata
from connectors.secrets import RequestSecrets, Secrets, SecretSource

__all__ = ["Invoker"]


class Invoker:
    """Calls connectors' methods."""

    def __init__(self, options: EngineOptions, http: HttpClient, sources: Sequence[SecretSource]) -> None:
        self._options = options
        self._http = http
        self._sources = tuple(sources)
        self._pools = BlockingPools(lambda task_type: options.limits_for(task_type).threads)

    def context(
        self,
        registered: Registered,
        caller: Caller,
        *,
        deadline: float,
        key: str = "",
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
        inputs: Callable[[], Mapping[str, Any]] = dict,
    ) -> Context:
        """The context of one call."""
        return Context(
            http=self._http,
            secrets=Secrets((RequestSecrets(caller.secrets), *self._sources)),
            deadline=deadline,
            idempotency_key=key,
            output_prefix=output_prefix,
            metadata=metadata,
            inputs=inputs,
            protocol=caller.protocol,
            logger=logging.getLogger(f"connectors.plugin.{registered.category.name}"),
        )

    async def call(
        self,
        registered: Registered,
        operation: str,
        ctx: Context,
        *args: Any,
        retry_until: Callable[[], float],
        on_attempt: Callable[[ConnectorError | None], None],
        **options: Any,
    ) -> Any:
        """Call ``operation`` of the connector with ``args`` and the context, again while that may help.

        :param retry_until: no try starts after this instant. :param on_attempt: told of each try's end.
        :raises ConnectorError: the last try's. A try that outlasts the context's deadline is DeadlineExceeded; anything
            that the
            connector does not declare is a ConnectorBug.
        """

        async def once() -> Any:
            try:
                answer = await self._once(registered, operation, ctx, args, options)
            except ConnectorError as error:
                on_attempt(error)
                raise
            on_attempt(None)
            return answer

        return await retrying(
            once,
            attempts=self._options.limits_for(registered.category.name).attempts,
            until=retry_until,
            initial=self._options.retry_initial,
            longest=self._options.retry_max,
        )

    async def _once(
        self, registered: Registered, operation: str, ctx: Context, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        task_type, method = registered.category.name, getattr(registered.connector, operation)
        with anyio.CancelScope(deadline=ctx.deadline):
            try:
                return await self._pools.call(task_type, method, *args, ctx, **options)
            except ConnectorError:
                raise
            except Exception as error:
                raise bug(task_type, operation, error) from error
        raise DeadlineExceeded(f"{task_type} did not end its {operation} in time")

    def close(self) -> None:
        """Let go of the threads."""
        self._pools.close()


def now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
