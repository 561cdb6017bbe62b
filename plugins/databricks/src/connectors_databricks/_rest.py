"""Databricks' Jobs API, as far as runs need it, and its errors as this project's own.

https://docs.databricks.com/api/workspace/jobs. This is the one place where a URL is built, and where a foreign error
becomes ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from connectors import (
    ConnectorError,
    Context,
    DeadlineExceeded,
    HttpResponse,
    InvalidRequest,
    KeyTaken,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    error_for_status,
)
from connectors_databricks._signing import Credentials, Signer
from connectors_databricks._workspaces import Workspace

__all__ = ["RunsApi", "error_of", "part"]

_LONGEST_MESSAGE = 2_000  # characters of Databricks' own text
_RUN_ID = re.compile(r"[0-9]{1,19}")
# As Databricks' own SDKs tell them from other bad parameters; the real API answers 400 here.
_NO_SUCH_RUN = re.compile(r"\bRun:? [0-9]+\b.*(does not exist|doesn't exist|not found)", re.IGNORECASE | re.DOTALL)
_BAD_TOKEN = re.compile(r"invalid access token|token (is|has) expired", re.IGNORECASE)
_LIMITING: Final = frozenset({"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS"})
_PASSING: Final = frozenset({"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "DEADLINE_EXCEEDED", "ABORTED"})
_MISSING: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})


class RunsApi:
    """The calls of one caller: their workspace, their credentials, their time."""

    def __init__(
        self,
        ctx: Context,
        *,
        workspace: Workspace,
        credentials: Credentials,
        signer: Signer,
        api_version: str,
        timeout: float,
    ) -> None:
        """:param timeout: seconds for one exchange."""
        self._ctx = ctx
        self._base = f"{workspace.url}/api/{api_version}/jobs/runs"
        self._credentials = credentials
        self._signer = signer
        self._timeout = timeout

    async def submit(self, body: Mapping[str, Any]) -> int:
        """``runs/submit``: start the run that the body describes; the run that its token started before, whatever has
        become of it.

        :raises KeyTaken: the token's run was deleted.
        :raises ConnectorError: as :meth:`_call`.
        """
        try:
            answer = await self._call("POST", "submit", body=body)
        except (InvalidRequest, NotFound) as error:
            # Databricks documents that this is an error, and not which one.
            if re.search("idempoten", error.message, re.IGNORECASE) or _NO_SUCH_RUN.search(error.message):
                raise KeyTaken(f"the run of this key was deleted: {error.message}") from error
            raise
        run_id = answer.get("run_id")
        if not isinstance(run_id, int) or isinstance(run_id, bool):
            raise Unavailable("Databricks answered to runs/submit without a run_id")
        return run_id

    async def get(self, run_id: str) -> Mapping[str, Any]:
        """``runs/get``: the run as it stands, with its repairs.

        :raises NotFound: there is none of this id (any more: they are kept for 60 days).
        :raises ConnectorError: as :meth:`_call`.
        """
        return await self._call("GET", "get", params={"run_id": _checked(run_id), "include_history": "true"})

    async def output(self, run_id: str) -> Mapping[str, Any]:
        """``runs/get-output``: what a task's run wrote, the last 5 MB of it, and its error.

        :param run_id: of one task's run: a run of several tasks has no output of its own.
        :raises NotFound: there is none of this id. :raises ConnectorError: as :meth:`_call`.
        """
        return await self._call("GET", "get-output", params={"run_id": _checked(run_id)})

    async def cancel(self, run_id: str) -> None:
        """``runs/cancel``: ask Databricks to stop the run. It answers at once; one that is over stays as it is.

        :raises NotFound: there is none of this id. :raises ConnectorError: as :meth:`_call`.
        """
        await self._call("POST", "cancel", body={"run_id": int(_checked(run_id))})

    async def _call(
        self,
        method: str,
        operation: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """One exchange.

        :raises Unavailable: no answer, one that is not Databricks', or a token that was refused and will be replaced.
        :raises DeadlineExceeded: the call's time is up.
        :raises ConnectorError: the error that Databricks answered with, in its own words.
        """
        signature = await self._signer.sign(self._credentials, self._ctx.http.egress)
        headers = {**signature.headers, "User-Agent": _user_agent()}
        left = self._ctx.remaining()
        timeout = min(self._timeout, left)
        try:
            answer = await self._ctx.http.request(
                method, f"{self._base}/{operation}", params=params, headers=headers, json=body, timeout=timeout
            )
        except DeadlineExceeded as error:
            if timeout == left:
                raise
            # The exchange's own bound: there is time for another, and whether this one was carried out is not known.
            raise Unavailable(error.message) from error
        if answer.status < 300:
            resource = answer.json()
            if not isinstance(resource, Mapping):
                raise Unavailable("Databricks' answer is not a JSON object")
            return resource
        refusal = error_of(answer)
        if isinstance(refusal, Unauthenticated) and self._signer.refused(self._credentials, signature):
            raise Unavailable("Databricks did not accept the cached access token; a new one will be fetched")
        raise refusal


def part(resource: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested object, empty where the resource has none."""
    value = resource.get(name)
    return value if isinstance(value, Mapping) else {}


def _checked(run_id: str) -> str:
    """A meta is a caller's input.

    :raises InvalidRequest: it is no run's number.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise InvalidRequest(f"{run_id[:80]!r} cannot be a Databricks run_id: expected a whole number")
    return run_id


def error_of(answer: HttpResponse) -> ConnectorError:
    """The error that an answer of 300 or more means. The code tells more than the status: of an unknown run the
    status is 400.
    """
    if answer.status < 400:
        return Unavailable(f"the Databricks instance answered with a redirect (HTTP {answer.status})")
    message, code = _message_and_code(answer)
    by_status = error_for_status(answer.status, message, answer.headers)
    if code in _LIMITING:
        return RateLimited(message, retry_after=by_status.retry_after)
    if code in _PASSING:
        return Unavailable(message, retry_after=by_status.retry_after)
    if code in _MISSING or (code == "INVALID_PARAMETER_VALUE" and _NO_SUCH_RUN.search(message)):
        return NotFound(message)
    if isinstance(by_status, Unauthenticated) or (answer.status == 403 and _BAD_TOKEN.search(message)):
        return Unauthenticated(f"{message} (HTTP {answer.status}: check the Databricks credentials)")
    if isinstance(by_status, PermissionDenied):
        return PermissionDenied(f"{message} (HTTP 403: check what the Databricks identity may do)")
    return by_status


def _message_and_code(answer: HttpResponse) -> tuple[str, str]:
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    fields = body if isinstance(body, Mapping) else {}
    code = str(fields.get("error_code") or "")
    text = str(fields.get("message") or f"HTTP {answer.status} without an explanation")[:_LONGEST_MESSAGE]
    return f"Databricks: {text}" + (f" ({code})" if code else ""), code


@cache
def _user_agent() -> str:
    try:
        return f"connectors-databricks/{version('connectors-databricks')}"
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "connectors-databricks/0"
