"""The connector: create, get, delete and get_logs, each in a few calls of the Jobs API."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from connectors import (
    AsyncConnectorBase,
    ConnectorError,
    Context,
    KeyTaken,
    LogPage,
    NotFound,
    Phase,
    Resource,
    ResourceMeta,
    TaskLog,
    TaskTemplate,
    Unavailable,
)
from connectors_databricks._credentials import SECRET_NAMES, SignIn, credentials_of
from connectors_databricks._custom import text
from connectors_databricks._rest import RunsApi
from connectors_databricks._run_output import error_in, log_page
from connectors_databricks._run_request import RunRequest
from connectors_databricks._signing import Credentials, Signer
from connectors_databricks._states import RunState, created, facts
from connectors_databricks._workspaces import Workspace, Workspaces
from connectors_databricks.settings import DatabricksSettings

__all__ = ["DatabricksConnector", "DatabricksRun", "SparkConnector", "connectors"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class DatabricksRun(ResourceMeta):
    """What finds a run, and the credentials for it, again. The fields are those of Flyte 1's connector; Flyte 2's has
    the first two alone, and nothing else is written where those are enough.
    """

    databricks_instance: str
    """The workspace's host."""
    run_id: str
    auth_token: str | None = field(default=None, repr=False)
    """Flyte 1's connector writes a token here. It is read, for where nothing else is configured, and never written."""
    auth_type: str | None = None
    """How the task signs in, where it chose: ``oauth_m2m``, ``oidc_federation``, or ``secret`` for a token that it
    named. Flyte 1's connector writes ``pat`` too."""
    client_id: str | None = None
    """The service principal, where the task named it."""
    oauth_secret_name: str | None = None
    """The secret that the task named."""
    namespace: str | None = None
    """Where the secret was found: Kubernetes' namespace, or another reference."""

    def encode(self) -> bytes:
        """The bytes that the backend keeps; a token is left out."""
        return ResourceMeta.encode(replace(self, auth_token=None))


class DatabricksConnector(AsyncConnectorBase[DatabricksRun]):
    """Runs tasks as Databricks job runs.

    The idempotency key is the run's token, and Databricks makes one run per token, so that a repeated create finds the
    first one's run.
    """

    task_type = "databricks"
    dedupe = "native"
    results_inline = False  # the task writes outputs.pb under its prefix
    secret_names = SECRET_NAMES
    Settings = DatabricksSettings
    settings: DatabricksSettings

    def __init__(
        self, settings: DatabricksSettings | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """:param clock: what access tokens age by, in seconds.

        :raises ValueError: the environment's default instance is no host.
        """
        super().__init__(settings)
        self._workspaces = Workspaces.of(self.settings.instances)
        self._signer = Signer(clock=clock)

    async def aclose(self) -> None:
        await self._signer.aclose()

    async def create(self, task: TaskTemplate, ctx: Context) -> DatabricksRun:
        """Start the run, or adopt the one that the same key started.

        :raises KeyTaken: the key's run is an earlier run's of the same name, or was deleted.
        :raises ConnectorError: as Databricks says.
        """
        workspace = self._workspaces.find(text(task.custom, "databricksInstance"))
        provider = self.settings.or_environment("service_credential_provider")
        request = RunRequest.of(task, ctx, credential_provider=provider)
        wanted = SignIn.of_task(task.custom, self.settings)
        credentials, sign_in = await credentials_of(wanted, ctx, workspace, self.settings)
        api = self._api(ctx, workspace=workspace, credentials=credentials)
        run_id = str(await api.submit(request.body(ctx.idempotency_key)))
        await _check_age(api, run_id, ctx)
        return DatabricksRun(workspace.place, run_id, **sign_in.fields())

    async def get(self, job: DatabricksRun, ctx: Context) -> Resource:
        """The run's state, and why it failed.

        :raises NotFound: Databricks does not have the run (any more: it keeps them for 60 days).
        :raises ConnectorError: as Databricks says.
        """
        api = await self._api_of(job, ctx)
        run = await api.get(job.run_id)
        state = RunState.of(run, self.settings.retryable)
        if state is None:
            raise Unavailable("Databricks answered to runs/get without a state")
        if state.unknown:
            ctx.unknown_state(state.unknown)
        message = state.message
        if state.phase in {Phase.FAILED, Phase.RETRYABLE_FAILED}:
            # why it failed must not cost the answer that it did
            error = await error_in(api, run, patience=ctx.remaining() / 2)
            message = f"{message}: {error}" if error and error not in message else message
        console = (
            f"https://{self._workspaces.find(job.databricks_instance).place}/#job/{run.get('job_id')}/run/{job.run_id}"
        )
        links = [TaskLog(uri=console, name="Databricks Console")]
        page = run.get("run_page_url")
        if isinstance(page, str) and page.startswith("https://") and page != console:
            links.append(TaskLog(uri=page, name="Databricks Run"))
        return Resource(phase=state.phase, message=message, log_links=tuple(links), custom_info=facts(run))

    async def delete(self, job: DatabricksRun, ctx: Context) -> None:
        """Cancel the run; one that is over or missing is left as it is.

        :raises ConnectorError: as Databricks says.
        """
        api = await self._api_of(job, ctx)
        try:
            await api.cancel(job.run_id)
        except NotFound:
            pass

    async def get_logs(self, job: DatabricksRun, ctx: Context, *, lines: int, token: str) -> LogPage:
        """A page of what the run's tasks wrote, with their errors and traces.

        :raises InvalidRequest: the token is none. :raises ConnectorError: as Databricks says.
        """
        api = await self._api_of(job, ctx)
        return await log_page(api, await api.get(job.run_id), lines=lines, token=token)

    async def _api_of(self, job: DatabricksRun, ctx: Context) -> RunsApi:
        """The API for a run. Its meta is a caller's input, and names a workspace of the operator's or none.

        :raises InvalidRequest: it names another.
        """
        workspace = self._workspaces.find(job.databricks_instance)
        wanted = SignIn.of_meta(job.auth_type, job.client_id, job.oauth_secret_name, job.namespace)
        credentials, _ = await credentials_of(wanted, ctx, workspace, self.settings, last_resort=job.auth_token or "")
        return self._api(ctx, workspace=workspace, credentials=credentials)

    def _api(self, ctx: Context, *, workspace: Workspace, credentials: Credentials) -> RunsApi:
        return RunsApi(
            ctx,
            workspace=workspace,
            credentials=credentials,
            signer=self._signer,
            api_version=self.settings.api_version,
            timeout=self.settings.request_timeout,
        )


class SparkConnector(DatabricksConnector):
    """The same for tasks of the Spark plugin's type, which otherwise run on Kubernetes. By setting: ``spark``."""

    task_type = "spark"

    @property
    def is_wanted(self) -> bool:
        return self.settings.spark


def connectors() -> tuple[type[DatabricksConnector], ...]:
    """The plugin's connectors. Which of them are wanted is in their settings."""
    return DatabricksConnector, SparkConnector


async def _check_age(api: RunsApi, run_id: str, ctx: Context) -> None:
    """Databricks does not tell whether it made the run just now or found it: its age does.

    :raises KeyTaken: it is an earlier run's. :raises Unavailable: its age is not to be had; it may be this create's.
    """
    if ctx.may_adopt(_LONG_AGO):
        return  # whatever its age
    try:
        started = created(await api.get(run_id))
    except ConnectorError as error:
        if ctx.may_adopt(None):
            return  # an earlier try of this create was told of the run too
        # Not as it is: of runs/get it may say that there is no run, and of this create there is one.
        raise Unavailable(f"the run was submitted, and does not show its age: {error.message}") from error
    if ctx.may_adopt(started):
        return
    if started is None:
        raise Unavailable("the run was submitted, and does not show its age yet")
    raise KeyTaken(f"the run {run_id} of this key is an earlier run's")
