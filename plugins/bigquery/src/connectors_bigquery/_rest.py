"""BigQuery's REST API, as far as query jobs need it, and its errors as this project's own.

https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs and https://cloud.google.com/bigquery/docs/error-messages.
This is the one place where a URL is built, and where a foreign error becomes ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from connectors import (
    Conflict,
    ConnectorError,
    Context,
    DeadlineExceeded,
    HttpResponse,
    InvalidRequest,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    error_for_status,
)
from connectors.tokens import TokenCache
from connectors_bigquery._tokens import Grant, Identity, token_of

__all__ = ["RETRYABLE_REASONS", "JobsApi", "error_of", "part"]

_LIMITING_REASONS = frozenset({"rateLimitExceeded", "quotaExceeded", "jobRateLimitExceeded"})
_PASSING_REASONS = frozenset({"backendError", "internalError", "jobBackendError", "jobInternalError"})
RETRYABLE_REASONS = _LIMITING_REASONS | _PASSING_REASONS
"""Reasons of errors that may be gone when the same job is run again."""

# A job's plan and its statement can be megabytes long: only what is read is asked for.
_JOB_FIELDS = (
    "jobReference,status,configuration(labels,query/destinationTable),statistics(creationTime,startTime,endTime,"
    "totalBytesProcessed,totalSlotMs,query(statementType,totalBytesProcessed,totalBytesBilled,totalSlotMs,cacheHit))"
)
_LONGEST_MESSAGE = 2_000  # characters of BigQuery's own text

# Met by every identifier of BigQuery's, and harmless in a path as they stand: a meta is a caller's input.
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,126}")
_LOCATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}")
_USER_AGENT = re.compile(r"[\x20-\x7e]{0,256}")


class JobsApi:
    """The calls of one caller: their identity, their time, their user agent."""

    def __init__(
        self,
        ctx: Context,
        *,
        endpoint: str,
        tokens: TokenCache[Grant],
        identity: Identity | None,
        user_agent: str,
        timeout: float,
    ) -> None:
        """:param identity: None sends no credentials (an emulator). :param timeout: seconds for one exchange."""
        self._ctx = ctx
        self._endpoint = endpoint
        self._tokens = tokens
        self._identity = identity
        self._user_agent = _checked(_USER_AGENT, user_agent, "user agent")
        self._timeout = timeout

    async def insert(self, project: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """``jobs.insert``: start the job that the body describes.

        :raises Conflict: the project and location already have a job of this id.
        :raises Unavailable: the answer is about another job, or none.
        :raises ConnectorError: as :meth:`_call`.
        """
        reference = body["jobReference"]
        if "jobId" in reference:
            _checked(_JOB_ID, reference["jobId"], "job id")
        if "location" in reference:
            _checked(_LOCATION, reference["location"], "location")
        job = await self._call("POST", _jobs_path(project), {"fields": "jobReference,status"}, body)
        if "jobId" in reference and part(job, "jobReference").get("jobId") != reference["jobId"]:
            # the job may be there: the next try finds it, and learns where it runs
            raise Unavailable("BigQuery's answer does not show the job that was to be started")
        return job

    async def get(self, project: str, location: str | None, job_id: str) -> Mapping[str, Any]:
        """``jobs.get``: the job as it stands.

        :raises NotFound: there is none of this id; without a location BigQuery looks in US and EU alone.
        :raises ConnectorError: as :meth:`_call`.
        """
        return await self._call("GET", _job_path(project, job_id), {"fields": _JOB_FIELDS, **_location(location)})

    async def cancel(self, project: str, location: str | None, job_id: str) -> None:
        """``jobs.cancel``: ask BigQuery to stop the job. It answers at once; one that is over stays as it is.

        :raises NotFound: there is none of this id.
        :raises ConnectorError: as :meth:`_call`.
        """
        await self._call("POST", f"{_job_path(project, job_id)}/cancel", {"fields": "kind", **_location(location)})

    async def _call(
        self, method: str, path: str, params: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """One exchange.

        :raises Unavailable: no answer, one that is not BigQuery's, or a token that was refused and will be replaced.
        :raises DeadlineExceeded: the call's time is up.
        :raises ConnectorError: the error that BigQuery answered with, in its own words.
        """
        headers = {"User-Agent": self._user_agent}
        token = None
        if self._identity is not None:
            token = await token_of(self._identity, self._tokens, self._ctx.http)
            headers |= token.headers()
        url, left = self._endpoint + path, self._ctx.remaining()
        timeout = min(self._timeout, left)
        try:
            answer = await self._ctx.http.request(
                method, url, params=params, headers=headers, json=body, timeout=timeout
            )
        except DeadlineExceeded as error:
            if timeout == left:
                raise
            # The exchange's own bound: there is time for another, and whether this one was carried out is not known.
            raise Unavailable(error.message) from error
        if answer.status == 401 and self._refused(token):
            raise Unavailable("BigQuery did not accept the cached access token; a new one will be fetched")
        return _resource(answer)

    def _refused(self, token: Grant | None) -> bool:
        return self._identity is not None and token is not None and self._tokens.refused(self._identity.key, token)


def part(resource: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested object, empty where the resource has none."""
    value = resource.get(name)
    return value if isinstance(value, dict) else {}  # as JSON has them; to ask for a Mapping takes five times as long


def _jobs_path(project: str) -> str:
    return f"/bigquery/v2/projects/{_checked(_PROJECT, project, 'project')}/jobs"


def _job_path(project: str, job_id: str) -> str:
    return f"{_jobs_path(project)}/{_checked(_JOB_ID, job_id, 'job id')}"


def _location(location: str | None) -> dict[str, str]:
    return {"location": _checked(_LOCATION, location, "location")} if location else {}


def _checked(pattern: re.Pattern[str], value: Any, what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidRequest(f"{str(value)[:80]!r} cannot be a BigQuery {what}")
    return value


def _resource(answer: HttpResponse) -> Mapping[str, Any]:
    if answer.status >= 300:
        raise error_of(answer)
    resource = answer.json()
    if not isinstance(resource, dict):
        raise Unavailable("BigQuery's answer is not a JSON object")
    return resource


def error_of(answer: HttpResponse) -> ConnectorError:
    """The error that an answer means. The reason tells more than the status: a 403 may be a limit, a 400 a passing
    fault.
    """
    if answer.status < 400:
        return Unavailable(f"BigQuery's endpoint answered with a redirect (HTTP {answer.status})")
    message, reason = _message_and_reason(answer)
    by_status = error_for_status(answer.status, message, answer.headers)
    if reason in _LIMITING_REASONS:
        return RateLimited(message, retry_after=by_status.retry_after)
    if reason in _PASSING_REASONS:
        return Unavailable(message, retry_after=by_status.retry_after)
    if reason == "duplicate":
        return Conflict(message)
    if isinstance(by_status, Unauthenticated | PermissionDenied):
        return type(by_status)(f"{message} (HTTP {answer.status}: check the Google credentials and their roles)")
    return by_status


def _message_and_reason(answer: HttpResponse) -> tuple[str, str]:
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    error = part(body, "error") if isinstance(body, Mapping) else {}
    details = error.get("errors")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], Mapping) else {}
    reason = str(first.get("reason") or "")
    text = str(error.get("message") or first.get("message") or f"HTTP {answer.status} without an explanation")[
        :_LONGEST_MESSAGE
    ]
    return f"BigQuery: {text}" + (f" (reason: {reason})" if reason else ""), reason
