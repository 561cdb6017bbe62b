"""The connector: create, get and delete, each in one or two calls of Snowflake's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from connectors import (
    AsyncConnectorBase,
    Context,
    FailedPrecondition,
    InvalidRequest,
    KeyTaken,
    NotFound,
    PermissionDenied,
    Resource,
    ResourceMeta,
    TaskLog,
    TaskTemplate,
    Unavailable,
)
from connectors_snowflake._accounts import Account
from connectors_snowflake._credentials import SECRETS, Found, Wanted, authenticator_of, credential_for, endpoint_of
from connectors_snowflake._history import QueryHistory
from connectors_snowflake._request import StatementRequest, surroundings
from connectors_snowflake._rest import StatementsApi, checked_handle
from connectors_snowflake._states import of_answer, of_past
from connectors_snowflake._tokens import token_cache
from connectors_snowflake.settings import SnowflakeSettings

__all__ = ["SnowflakeConnector", "SnowflakeJob"]


@dataclass(frozen=True)
class SnowflakeJob(ResourceMeta):
    """What finds a statement again."""

    user: str
    account: str
    database: str
    schema: str
    warehouse: str
    query_id: str
    has_output: bool
    connection_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    """Flyte 2's connector has them, Flyte 1's cannot read a meta that has them: set where the task had some. One that
    Flyte's wrote may hold a password."""
    secret_names: Mapping[str, str] | None = None
    """What the task called the secrets that were found by that, by what they are for; None: all by their own names."""
    secret_references: Mapping[str, str] | None = None
    """Where they were found, as far as their names do not say."""


class SnowflakeConnector(AsyncConnectorBase[SnowflakeJob]):
    """Runs SQL as Snowflake statements.

    The idempotency key is the request's id, for which Snowflake does not execute a statement again, and stands in the
    statement's query tag: while the first one still runs, it is found by that.
    """

    task_type = "snowflake"
    dedupe = "search"
    results_inline = True  # the address of the result, wherever the output prefix leads
    Settings = SnowflakeSettings
    secret_names = SECRETS

    def __init__(
        self, settings: SnowflakeSettings | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """:param clock: what tokens age by, in seconds."""
        super().__init__(settings)
        self._tokens = token_cache(clock)

    async def aclose(self) -> None:
        await self._tokens.aclose()

    async def create(self, task: TaskTemplate, ctx: Context) -> SnowflakeJob:
        """Start the statement, or adopt the one that the same key started.

        A statement that Snowflake refuses to run is a job too, where it has an id: ``get`` tells why it failed.

        :raises KeyTaken: the key's statement is an earlier run's.
        :raises ConnectorError: as Snowflake says.
        """
        # ten thousand rows take half a second
        off_the_loop = bool(task.custom.get("batch"))
        request = (
            await asyncio.to_thread(StatementRequest.of, task, ctx) if off_the_loop else StatementRequest.of(task, ctx)
        )
        body = request.body(ctx.idempotency_key)
        job = SnowflakeJob(
            user=request.user,
            account=request.account.name,
            database=request.database,
            schema=request.schema,
            warehouse=request.warehouse,
            query_id="",
            has_output=request.has_output,
            connection_kwargs=request.connection_kwargs or None,
            secret_names=request.secret_names,
        )
        api, found = await self._connected(job, ctx)
        job = replace(job, secret_names=found.names or None, secret_references=found.references or None)
        # unknown: an earlier try of this very create may have started it
        unknown = ctx.may_adopt(None)
        query_id = await self._made_before(job, api, ctx) if unknown or self.settings.look_up_first else None
        if query_id is None:
            answer = await api.submit(body, request_id=ctx.idempotency_key, resend=unknown)
            query_id = answer.handle
            if query_id is None and answer.status == 422:
                raise InvalidRequest(f"Snowflake: {answer.sentence()}")
            if query_id is None:
                raise Unavailable("Snowflake's answer names no statement")
        return replace(job, query_id=query_id)

    async def get(self, job: SnowflakeJob, ctx: Context) -> Resource:
        """The statement's state; the address of its result once it has succeeded.

        A statement that the SQL API does not know (any more) is looked up in the query history: one that a driver
        started, or whose result is gone.

        :raises NotFound: Snowflake has no such statement, or none of this user's.
        :raises ConnectorError: as Snowflake says.
        """
        query_id = checked_handle(job.query_id)
        location = _location(job, ctx) if job.has_output else None
        link = TaskLog(uri=Account.of(job.account).query_page(query_id), name="Snowflake Query Details")
        api = await self._api(job, ctx)
        try:
            return of_answer(await api.get(query_id), location, link, ctx)
        except NotFound as missing:
            try:
                past = await self._history(job, api).with_id(query_id)
            except (FailedPrecondition, InvalidRequest, NotFound, PermissionDenied):
                raise missing from None
            if past is None:
                raise
        return of_past(past, location, link, ctx)

    async def delete(self, job: SnowflakeJob, ctx: Context) -> None:
        """Cancel the statement; one that is over or missing is left as it is.

        One that the SQL API does not know is cancelled by a statement: a driver may have started it, and it may run.

        :raises ConnectorError: as Snowflake says.
        """
        query_id = checked_handle(job.query_id)
        api = await self._api(job, ctx)
        try:
            await api.cancel(query_id)
        except NotFound:
            try:
                await api.cancel_query(query_id, self._where(job))
            except (FailedPrecondition, InvalidRequest, NotFound, PermissionDenied):
                pass

    async def _api(self, job: SnowflakeJob, ctx: Context) -> StatementsApi:
        return (await self._connected(job, ctx))[0]

    async def _connected(self, job: SnowflakeJob, ctx: Context) -> tuple[StatementsApi, Found]:
        """The API as this job's user, and how its secrets are found again."""
        account = Account.of(job.account)
        wanted = Wanted(
            account,
            job.user,
            authenticator_of(job.connection_kwargs or {}),
            names=job.secret_names or {},
            references=job.secret_references or {},
        )
        found = await credential_for(wanted, ctx.secrets, self.settings)
        api = StatementsApi(
            ctx,
            endpoint=endpoint_of(account, self.settings),
            tokens=self._tokens,
            credential=found.credential,
            timeout=self.settings.request_timeout,
        )
        return api, found

    def _history(self, job: SnowflakeJob, api: StatementsApi) -> QueryHistory:
        return QueryHistory(api, self._where(job))

    def _where(self, job: SnowflakeJob) -> dict[str, str]:
        """Where statements of the connector's own run."""
        warehouse = self.settings.look_up_warehouse or job.warehouse
        return surroundings(job.database, warehouse, job.connection_kwargs or {})

    async def _made_before(self, job: SnowflakeJob, api: StatementsApi, ctx: Context) -> str | None:
        """The statement that this create's key made already.

        :raises KeyTaken: there is one, and it is an earlier run's.
        :raises ConnectorError: the query history cannot be read.
        """
        past = await self._history(job, api).with_key(ctx.idempotency_key)
        if past is None:
            return None
        if not ctx.may_adopt(past.started):
            raise KeyTaken(f"the statement {past.query_id} was made under this key by an earlier run")
        return past.query_id


def _location(job: SnowflakeJob, ctx: Context) -> str:
    """The address of the result, in the form that each protocol's SDK reads."""
    between = "/" if ctx.protocol == "flyte2" else ":"
    return f"snowflake://{job.user}{between}{job.account}/{job.warehouse}/{job.database}/{job.schema}/{job.query_id}"
