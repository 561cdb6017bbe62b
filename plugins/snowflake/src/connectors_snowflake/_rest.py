"""Snowflake's SQL REST API, and its errors as this project's own.

https://docs.snowflake.com/en/developer-guide/sql-api/reference. This is the one place where a URL is built, and where a
foreign error becomes ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from connectors import (
    ConnectorError,
    Context,
    DeadlineExceeded,
    HttpResponse,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    error_for_status,
)
from connectors.tokens import TokenCache
from connectors_snowflake._tokens import Credential, Token, refused, token_of

__all__ = ["Answer", "StatementsApi", "checked_handle"]

_HANDLE = re.compile(r"[0-9A-Za-z-]{1,64}")
_LONGEST_MESSAGE = 2_000  # characters of Snowflake's own text
NOT_FOUND_CODES = frozenset({"000404", "000709"})
"""Codes of a 422 that mean that there is no such statement."""
_NOT_RUNNING_CODES = frozenset({"000604", "000605"})  # of a 422 to a cancel: cancelled before, or over


@dataclass(frozen=True)
class Answer:
    """An answer about a statement: it runs (202), has succeeded (200), or has failed (408, 422)."""

    status: int
    body: Mapping[str, Any]

    @property
    def code(self) -> str:
        """Snowflake's own, six digits; "" where it gave none."""
        return str(self.body.get("code") or "")

    @property
    def handle(self) -> str | None:
        """The statement's, which is its query's id."""
        value = self.body.get("statementHandle")
        return value if isinstance(value, str) and _HANDLE.fullmatch(value) else None

    @property
    def message(self) -> str:
        """Snowflake's words, cut to a fair length."""
        return str(self.body.get("message") or f"HTTP {self.status} without an explanation")[:_LONGEST_MESSAGE]

    def sentence(self) -> str:
        """The message with what identifies it."""
        state = self.body.get("sqlState")
        known = [f"code {self.code}"] if self.code else []
        known += [f"SQL state {state}"] if state else []
        return f"{self.message} ({', '.join(known)})" if known else self.message


class StatementsApi:
    """The calls of one caller: their account, their credential, their time."""

    def __init__(
        self, ctx: Context, *, endpoint: str, tokens: TokenCache[Token], credential: Credential, timeout: float
    ) -> None:
        """:param endpoint: without a slash at its end. :param timeout: seconds for one exchange."""
        self._ctx = ctx
        self._endpoint = endpoint
        self._tokens = tokens
        self._credential = credential
        self._timeout = timeout

    async def submit(self, body: Mapping[str, Any], *, request_id: str, resend: bool) -> Answer:
        """Start a statement, and do not wait for it.

        :param resend: the same request may have been sent before: Snowflake is to look for it.
        :raises ConnectorError: as :meth:`_call`.
        """
        params = {"async": "true", "requestId": request_id}
        if resend:
            params["retry"] = "true"
        return await self._call("POST", "", params, body)

    async def rows(self, body: Mapping[str, Any]) -> list[list[Any]]:
        """Run a query that ends at once, and return its first rows. Values are text, or None.

        :raises Unavailable: it has not ended in time.
        :raises InvalidRequest: Snowflake cannot run it.
        :raises ConnectorError: as :meth:`_call`.
        """
        seconds = max(1, int(min(self._timeout, self._ctx.remaining())))
        answer = await self._call("POST", "", {}, {**body, "timeout": seconds})
        if answer.status in {202, 408}:
            raise Unavailable("Snowflake had no answer in time: the warehouse is starting, or busy")
        if answer.status == 422:
            raise InvalidRequest(f"Snowflake: {answer.sentence()}")
        rows = answer.body.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise Unavailable("Snowflake's answer has no rows")
        return rows

    async def get(self, handle: str) -> Answer:
        """The statement as it stands.

        :raises NotFound: Snowflake has none of this handle, for this user.
        :raises ConnectorError: as :meth:`_call`.
        """
        answer = await self._call("GET", f"/{checked_handle(handle)}", {})
        if answer.status == 200 and answer.handle is None:
            raise Unavailable("Snowflake's answer names no statement")  # nor is the statement over by it
        if answer.status == 422 and answer.code in NOT_FOUND_CODES:
            raise NotFound(f"Snowflake: {answer.sentence()}")
        return answer

    async def cancel(self, handle: str) -> None:
        """Ask Snowflake to stop the statement; one that is over stays as it is.

        :raises NotFound: there is none of this handle.
        :raises ConnectorError: as :meth:`_call`.
        """
        answer = await self._call("POST", f"/{checked_handle(handle)}/cancel", {})
        if answer.status == 422 and answer.code in NOT_FOUND_CODES:
            raise NotFound(f"Snowflake: {answer.sentence()}")
        if answer.status in {408, 422} and answer.code not in _NOT_RUNNING_CODES:
            raise Unavailable(f"Snowflake: {answer.sentence()}")

    async def cancel_query(self, query_id: str, where: Mapping[str, str]) -> None:
        """Stop a statement that the SQL API did not start: a driver's.

        https://docs.snowflake.com/en/sql-reference/functions/system_cancel_query.

        :param where: as the SQL API takes it.
        :raises InvalidRequest: Snowflake does not: it is over, or there is none of this id.
        :raises ConnectorError: as :meth:`_call`.
        """
        statement = f"SELECT SYSTEM$CANCEL_QUERY('{checked_handle(query_id)}')"
        await self.rows(
            {**where, "statement": statement, "parameters": {"QUERY_TAG": "connectors: cancels a statement"}}
        )

    async def _call(
        self, method: str, path: str, params: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> Answer:
        """One exchange; an answer about a statement is no error, even where the statement failed.

        :raises Unavailable: no answer, one that is not Snowflake's, or a token that was refused and will be replaced.
        :raises DeadlineExceeded: the call's time is up.
        :raises ConnectorError: the error that Snowflake answered with, in its own words.
        """
        token = await token_of(self._credential, self._tokens)
        headers = {"User-Agent": _user_agent(), "Accept": "application/json", **token.headers()}
        url, left = f"{self._endpoint}/api/v2/statements{path}", self._ctx.remaining()
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
        if answer.status == 401 and refused(self._credential, self._tokens, token):
            raise Unavailable("Snowflake did not accept the cached token; a new one will be signed")
        return _about_a_statement(answer)


def checked_handle(handle: str) -> str:
    """A handle that may stand in a path: a meta is a caller's input.

    :raises InvalidRequest: it is none.
    """
    if not _HANDLE.fullmatch(handle):
        raise InvalidRequest(f"{handle[:80]!r} cannot be the id of a Snowflake query")
    return handle


@cache  # the version is read from a file
def _user_agent() -> str:
    # Snowflake refuses a request without one.
    try:
        return f"connectors-snowflake/{version('connectors-snowflake')}"
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "connectors-snowflake/0"


def _about_a_statement(answer: HttpResponse) -> Answer:
    if answer.status in {200, 202}:
        body = answer.json()
        if not isinstance(body, Mapping):
            raise Unavailable("Snowflake's answer is not a JSON object")
        return Answer(answer.status, body)
    fields = _fields(answer)
    # 408 and 422 are a statement's own, where Snowflake says so: a proxy may answer with them too
    if answer.status in {408, 422} and fields.get("code"):
        return Answer(answer.status, fields)
    raise _error(answer, Answer(answer.status, fields))


def _fields(answer: HttpResponse) -> Mapping[str, Any]:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}


def _error(answer: HttpResponse, told: Answer) -> ConnectorError:
    if answer.status < 400:
        return Unavailable(f"Snowflake answered with HTTP {answer.status}")
    error = error_for_status(answer.status, f"Snowflake: {told.sentence()}", answer.headers)
    if isinstance(error, Unauthenticated | PermissionDenied):
        return type(error)(f"{error.message} (HTTP {answer.status}: check the account, the user, its key and its role)")
    return error
