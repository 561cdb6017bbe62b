"""The connector: create, get and delete, each in one or two calls of BigQuery's."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connectors import (
    AsyncConnectorBase,
    Conflict,
    ConnectorError,
    Context,
    KeyTaken,
    NotFound,
    Resource,
    ResourceMeta,
    TaskTemplate,
    Unavailable,
)
from connectors_bigquery._credentials import SECRET, TOKEN_URL, ApplicationDefault, Found, identity_for
from connectors_bigquery._job_request import KEY_LABEL, JobRequest, user_agent
from connectors_bigquery._rest import JobsApi, part
from connectors_bigquery._states import KNOWN_STATES, console_link, created, resource
from connectors_bigquery._tokens import token_cache
from connectors_bigquery.settings import BigQuerySettings, emulator_endpoint

__all__ = ["BigQueryConnector", "BigQueryJob"]


@dataclass(frozen=True)
class BigQueryJob(ResourceMeta):
    """What finds a query job again."""

    job_id: str
    project: str
    location: str | None
    """Where the job runs; None where BigQuery did not say."""
    user_agent: str | None = None
    """Flyte 2's connector has it, and Flyte 1's cannot read a meta that has it: set for Flyte 2 alone."""
    secret_name: str | None = None
    """What the task calls the secret with its credentials, where it was found by that: no connector of Flyte's reads
    this, nor the next."""
    secret_reference: str | None = None
    """Where the secret was found, as far as its name does not say."""


class BigQueryConnector(AsyncConnectorBase[BigQueryJob]):
    """Runs SQL as BigQuery query jobs.

    The idempotency key is the job's id, and BigQuery makes one job per id, project and location, so that a repeated
    create finds the first one's job. A label carries the key too: a job of that id without it is somebody else's.
    """

    task_type = "bigquery_query_job_task"
    dedupe = "native"
    results_inline = True  # the address of the table, wherever the output prefix leads
    Settings = BigQuerySettings
    secret_names = (SECRET,)

    def __init__(
        self,
        settings: BigQuerySettings | None = None,
        *,
        token_url: str = TOKEN_URL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param token_url: where a service account's token comes from; another address than Google's is for tests.
        :param clock: what tokens age by, in seconds.

        :raises ValueError: ``BIGQUERY_EMULATOR_HOST`` is set and is no URL.
        """
        super().__init__(settings)
        self._token_url = token_url
        self._tokens = token_cache(clock)
        self._default_identity = ApplicationDefault()
        self._emulator = emulator_endpoint()

    async def aclose(self) -> None:
        await self._tokens.aclose()

    async def create(self, task: TaskTemplate, ctx: Context) -> BigQueryJob:
        """Start the query, or adopt the job that the same key started.

        :raises KeyTaken: BigQuery has a job of this id that is not this create's: somebody else's, or an earlier run's.
        :raises ConnectorError: as BigQuery says.
        """
        request = JobRequest.of(task, ctx)
        api, found = await self._connected(ctx, request.user_agent, named=request.secret_name)
        if request.secret_name and found is not None and isinstance(found.identity, ApplicationDefault):
            ctx.logger.warning("the secret that the task names was not found: the server's own credentials are used")
        try:
            job = await api.insert(request.project, request.body(ctx.idempotency_key))
        except Conflict as conflict:
            job = await self._adopt(api, request, ctx, conflict)
        return BigQueryJob(
            job_id=ctx.idempotency_key,
            project=request.project,
            location=part(job, "jobReference").get("location") or request.location,
            user_agent=request.user_agent if ctx.protocol == "flyte2" else None,
            secret_name=found.name if found is not None else None,
            secret_reference=found.reference if found is not None else None,
        )

    async def get(self, job: BigQueryJob, ctx: Context) -> Resource:
        """The job's state; its output once it is done.

        :raises NotFound: BigQuery does not have the job (any more: it keeps them for six months).
        :raises ConnectorError: as BigQuery says.
        """
        api = await self._api_of(job, ctx)
        found = await api.get(job.project, job.location, job.job_id)
        state = str(part(found, "status").get("state"))
        if state not in KNOWN_STATES:
            ctx.unknown_state(state)
        location = job.location or part(found, "jobReference").get("location") or ""
        return resource(found, console_link(job.project, location, job.job_id))

    async def delete(self, job: BigQueryJob, ctx: Context) -> None:
        """Cancel the job; one that is over or missing is left as it is.

        :raises ConnectorError: as BigQuery says.
        """
        api = await self._api_of(job, ctx)
        try:
            await api.cancel(job.project, job.location, job.job_id)
        except NotFound:
            pass

    async def _api_of(self, job: BigQueryJob, ctx: Context) -> JobsApi:
        agent = user_agent("") if job.user_agent is None else job.user_agent
        named, reference = job.secret_name or "", job.secret_reference or ""
        return (await self._connected(ctx, agent, named=named, reference=reference))[0]

    async def _connected(
        self, ctx: Context, agent: str, *, named: str, reference: str = ""
    ) -> tuple[JobsApi, Found | None]:
        """The API as the call's identity, and how that is found again; None where there is none to be found."""
        found = None
        if self._emulator is None:  # an emulator knows no credentials, and is not to be trusted with any
            found = await identity_for(
                ctx.secrets, self._default_identity, named=named, reference=reference, token_url=self._token_url
            )
        api = JobsApi(
            ctx,
            endpoint=self._emulator or self.settings.endpoint.rstrip("/"),
            tokens=self._tokens,
            identity=found.identity if found is not None else None,
            user_agent=agent,
            timeout=self.settings.request_timeout,
        )
        return api, found

    async def _adopt(self, api: JobsApi, request: JobRequest, ctx: Context, conflict: Conflict) -> Any:
        """The job that is in the way of an insert, if it is this create's, whatever has become of it.

        :raises KeyTaken: it is not. :raises Unavailable: BigQuery does not show the job yet.
        """
        key = ctx.idempotency_key
        location = request.location or _location_in(conflict.message, key) or await _location_by_dry_run(api, request)
        try:
            job = await api.get(request.project, location, key)
        except NotFound as error:
            # For a moment after a 409 a read may not find the job that the 409 is about.
            raise Unavailable("BigQuery says that the job exists, but does not show it yet") from error
        if part(part(job, "configuration"), "labels").get(KEY_LABEL) != key:
            raise KeyTaken(f"the job {key} of project {request.project} was not made under this key") from conflict
        if not ctx.may_adopt(created(job)):
            raise KeyTaken(f"the job {key} of project {request.project} is an earlier run's") from conflict
        return job


def _location_in(message: str, job_id: str) -> str | None:
    """The location that BigQuery's "Already Exists: Job <project>:<location>.<job>" names."""
    found = re.search(rf":([A-Za-z0-9-]+)\.{re.escape(job_id)}\b", message)
    return found[1] if found else None


async def _location_by_dry_run(api: JobsApi, request: JobRequest) -> str | None:
    """Where BigQuery would run the statement now, which is where it ran it before; None where it would not any more."""
    try:
        answer = await api.insert(request.project, request.dry_run())
    except ConnectorError as error:
        if error.retryable:
            raise
        return None
    location = part(answer, "jobReference").get("location")
    return location if isinstance(location, str) else None
