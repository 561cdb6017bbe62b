"""The connector: create, get and delete, each in one request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors import (
    AsyncConnectorBase,
    Context,
    HttpResponse,
    InvalidRequest,
    KeyTaken,
    NotFound,
    Phase,
    Resource,
    ResourceMeta,
    TaskTemplate,
    Unavailable,
)

from connectors_acme._api import TOKEN, arguments, members, send
from connectors_acme.settings import AcmeSettings
from connectors_acme.task_config import AcmeConfig

__all__ = ["AcmeConnector", "AcmeJob"]

_PHASES = {
    "QUEUED": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "PREEMPTED": Phase.RETRYABLE_FAILED,
    "CANCELLED": Phase.ABORTED,
}
_JOB_ID = re.compile(r"[A-Za-z0-9-]{1,80}")


@dataclass(frozen=True)
class AcmeJob(ResourceMeta):
    """What finds a job again. Callers keep it, in the clear, and send it back: no secret belongs here, and what comes
    back is a caller's input.
    """

    job_id: str


class AcmeConnector(AsyncConnectorBase[AcmeJob]):
    """Runs programs as jobs.

    A platform that makes one job per key is ``native``. One that can be searched by the key is ``search``: look for the
    job first, in ``create``. One that can do neither is ``none``.
    """

    task_type = "acme"
    dedupe = "native"
    results_inline = True  # what a job results in comes with its state; False: it is written to ctx.output_prefix
    Settings = AcmeSettings
    settings: AcmeSettings
    secret_names = (TOKEN,)

    async def create(self, task: TaskTemplate, ctx: Context) -> AcmeJob:
        """Start the job, or find the one that the same key started.

        :raises KeyTaken: the key's job is an earlier run's. :raises ConnectorError: as the platform says.
        """
        config = AcmeConfig.of(task.custom)
        body = {"program": config.program, "timeout": config.timeout, "arguments": arguments(ctx.inputs)}
        answer = await send(self.settings, ctx, "POST", "/v1/jobs", body=body, key=ctx.idempotency_key)
        job = _job_in(answer)
        is_repeat = answer.status == 200  # a new job is a 201
        if is_repeat and not ctx.may_adopt(_created(job)):
            raise KeyTaken
        return AcmeJob(job["id"])

    async def get(self, job: AcmeJob, ctx: Context) -> Resource:
        """The job's state; its result once it succeeded.

        :raises NotFound: there is no such job (any more). :raises ConnectorError: as the platform says.
        """
        shown = _job_in(await send(self.settings, ctx, "GET", _path(job)))
        phase = _PHASES.get(shown["state"])
        if phase is None:
            ctx.unknown_state(shown["state"])
            phase = Phase.RUNNING
        outputs = {"result": shown.get("result")} if phase is Phase.SUCCEEDED else None
        return Resource(phase, str(shown.get("message") or ""), outputs=outputs)

    async def delete(self, job: AcmeJob, ctx: Context) -> None:
        """Cancel the job; one that is over or missing is left as it is.

        :raises ConnectorError: as the platform says.
        """
        try:
            await send(self.settings, ctx, "POST", f"{_path(job)}/cancel")
        except NotFound:
            pass


def _path(job: AcmeJob) -> str:
    """:raises InvalidRequest: it would not be a job's path."""
    if not _JOB_ID.fullmatch(job.job_id):
        raise InvalidRequest(f"job_id: {job.job_id[:80]!r} is not a job's id")
    return f"/v1/jobs/{job.job_id}"


def _job_in(answer: HttpResponse) -> dict[str, Any]:
    """:raises Unavailable: the answer shows none. There may be one all the same."""
    job = members(answer)
    if not (isinstance(job.get("id"), str) and _JOB_ID.fullmatch(job["id"]) and isinstance(job.get("state"), str)):
        raise Unavailable("Acme's answer shows no job")
    return job


def _created(job: dict[str, Any]) -> datetime | None:
    """When the platform made it; None where it does not say, or not in which time zone."""
    try:
        moment = datetime.fromisoformat(job["created"])
    except (KeyError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None
