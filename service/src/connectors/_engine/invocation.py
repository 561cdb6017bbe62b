"""Calling a connector: its context, its time, its threads, and the retry loop around it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from connectors._engine.blocking import BlockingPools
from connectors._engine.events import FactObserver, Meter, RateLimit, RateLimitPause, Tracer
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import bug
from connectors._engine.requests import Caller
from connectors._engine.retry import retrying
from connectors._engine.retry_budget import RetryBudget, share_left_by
from connectors._engine.secret_access import SecretAccess
from connectors._engine.telemetry import ConnectorTelemetry
from connectors._engine.waiting import wake
from connectors._registry import Registered
from connectors._telemetry import tell
from connectors.context import Context
from connectors.errors import ConnectorError, DeadlineExceeded, PermissionDenied, RateLimited, Unauthenticated
from connectors.http import HttpClient
from connectors.models import TaskCategory, TaskExecutionMetadata

__all__ = ["Invoker", "now", "task_name"]

log = logging.getLogger("connectors.engine")
_LINGER = 2.0  # seconds for a call that was cancelled to end
_PASSING_FOR_A_POLL = (Unauthenticated, PermissionDenied, DeadlineExceeded)
"""A poll asks for what a create was allowed to make: the first two are mostly a rotation of the credentials under way.
The last is one exchange's own time where the call has some left, and a poll changes nothing."""
_Outcome = tuple[Any, BaseException | None]


def _unmetered(task_type: str, usage: Mapping[str, float]) -> None:
    """Counts nothing."""


class Invoker:
    """Calls connectors' methods."""

    def __init__(
        self,
        options: EngineOptions,
        http: HttpClient,
        secrets: SecretAccess,
        *,
        used: Meter = _unmetered,
        facts: Sequence[FactObserver] = (),
        tracer: Tracer | None = None,
    ) -> None:
        """:param used: told of what calls used on the platform; not of polls, which tell of a job again and again.

        :param facts: told of rate limits, and of what connectors do: requests to their platforms, tokens.
        """
        self._options = options
        self._http = http
        self._secrets = secrets
        self._used = used
        self._running: set[asyncio.Task[_Outcome]] = set()
        self._budgets: dict[str, RetryBudget] = {}
        self._facts = tuple(facts)
        self._tracer = tracer
        self._telemetry: dict[TaskCategory, ConnectorTelemetry] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._loggers: dict[str, logging.Logger] = {}
        self.pools = BlockingPools(lambda task_type: options.limits_for(task_type).threads)

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
        adopt_within: float = math.inf,
    ) -> Context:
        """The context of one call."""
        task_type = registered.category.name
        logger = self._loggers.get(task_type)
        if logger is None:  # to get one takes the logging module's lock
            logger = self._loggers[task_type] = logging.getLogger(f"connectors.plugin.{task_type}")
        return Context(
            http=self._http,
            secrets=self._secrets.of_call(registered, caller, metadata),
            deadline=deadline,
            idempotency_key=key,
            output_prefix=output_prefix,
            metadata=metadata,
            inputs=inputs,
            protocol=caller.protocol,
            adopt_within=adopt_within,
            logger=logger,
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
            that the connector does not declare is a ConnectorBug.
        """
        task_type = registered.category.name
        limits = self._options.limits_for(task_type)
        budget = self._budgets.get(task_type)
        if budget is None:
            budget = self._budgets[task_type] = RetryBudget(limits.retry_budget)
        telemetry = self._telemetry_of(registered)
        last: ConnectorError | None = None

        async def once() -> Any:
            nonlocal last
            try:
                answer = await self._once(registered, operation, ctx, args, options=options, telemetry=telemetry)
            except ConnectorError as error:
                last = error
                if isinstance(error, RateLimited):
                    telemetry.tell(RateLimit(telemetry.task_type))
                on_attempt(error)
                raise
            on_attempt(None)
            return answer

        def may_retry() -> bool:
            allowed = budget.take(leave=share_left_by(operation))
            if last is not None:
                last.retry_denied = not allowed
            return allowed

        def on_pause(error: BaseException | None, seconds: float) -> None:
            if isinstance(error, RateLimited):
                telemetry.tell(RateLimitPause(telemetry.task_type, seconds))

        try:
            return await retrying(
                once,
                attempts=limits.attempts,
                until=retry_until,
                initial=self._options.retry_initial,
                longest=self._options.retry_max,
                # a create that fails costs its user a retry of the task's; another poll comes by itself
                to_the_end=operation == "create",
                also=_PASSING_FOR_A_POLL if operation == "get" else (),
                may_retry=may_retry,
                on_pause=on_pause,
            )
        finally:
            if operation != "get":
                self._used(task_type, ctx.usage)

    def _telemetry_of(self, registered: Registered) -> ConnectorTelemetry:
        telemetry = self._telemetry.get(registered.category)
        if telemetry is None:
            telemetry = ConnectorTelemetry(registered, self._facts, self._tracer)
            self._telemetry[registered.category] = telemetry
        return telemetry

    async def _once(
        self,
        registered: Registered,
        operation: str,
        ctx: Context,
        args: tuple[Any, ...],
        *,
        options: dict[str, Any],
        telemetry: ConnectorTelemetry,
    ) -> Any:
        task_type, method = registered.category.name, getattr(registered.connector, operation)
        what = self._names.get((operation, task_type))
        if what is None:
            what = self._names[operation, task_type] = task_name(operation, task_type)
        answer, error = await self._in_its_own_task(
            self.pools.call(task_type, method, *args, ctx, **options), telemetry, ctx.deadline, what
        )
        if error is None:
            return answer
        if isinstance(error, ConnectorError):
            raise error
        raise bug(task_type, operation, error) from error

    async def _in_its_own_task(
        self, call: Coroutine[Any, Any, Any], telemetry: ConnectorTelemetry, deadline: float, what: str
    ) -> _Outcome:
        """Wait for a connector no longer than its deadline, whatever it does: raise SystemExit, cancel itself, or
        swallow its cancellation. Cancelled once, it is left to end by itself.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(_settled(call, telemetry), name=what)
        self._running.add(task)
        task.add_done_callback(partial(self._done, ended))
        timer = loop.call_at(deadline, wake, ended)
        try:
            await ended
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            timer.cancel()
        if task.done():
            return (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        task.cancel()
        loop.call_later(_LINGER, _tell_if_stuck, task, what)
        raise DeadlineExceeded(f"{what} did not end in time")

    def _done(self, ended: asyncio.Future[None], task: asyncio.Task[_Outcome]) -> None:
        self._running.discard(task)
        wake(ended)

    async def aclose(self) -> None:
        """Give what was cancelled a moment to end, and let go of the threads and the sources of secrets."""
        if self._running:
            await asyncio.wait(self._running, timeout=_LINGER)
        self.pools.close()
        await self._secrets.aclose()


async def _settled(call: Coroutine[Any, Any, Any], telemetry: ConnectorTelemetry) -> _Outcome:
    tell(telemetry)  # until this task ends, and in whatever it starts
    try:
        return await call, None
    except BaseException as error:  # noqa: BLE001 - SystemExit would end the event loop, were it to leave the task
        return None, error


def _tell_if_stuck(task: asyncio.Task[_Outcome], what: str) -> None:
    if not task.done():
        log.error("%s goes on %.3g s after it was cancelled: it swallows its cancellation", what, _LINGER)


def task_name(operation: str, task_type: str) -> str:
    """What a connector's call is called, as a task of asyncio's and in the log: ``get of bigquery``."""
    return f"{operation} of {task_type}"


def now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
