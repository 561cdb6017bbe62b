"""Statements looked up in Snowflake's query history.

https://docs.snowflake.com/en/sql-reference/functions/query_history: QUERY_HISTORY_BY_USER tells of the user's own
statements of seven days, those that still run included, without further rights; the view of the same name in
ACCOUNT_USAGE lags by up to 45 minutes, and QUERY_HISTORY_BY_SESSION knows one session, while each request of the SQL
API has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors import ConnectorError, Unavailable
from connectors_snowflake._rest import StatementsApi

__all__ = ["KEY_IN_TAG", "PastStatement", "QueryHistory"]

KEY_IN_TAG = '{"connectors-key":"'
"""How the query tag of each statement of this connector begins; the key follows."""

# The function's rows are limited before they are filtered: to the latest, the ones that run first of all.
_STATEMENT = """
SELECT QUERY_ID, EXECUTION_STATUS, DATE_PART(EPOCH_MILLISECOND, START_TIME), DATE_PART(EPOCH_MILLISECOND, END_TIME),
       ERROR_CODE, ERROR_MESSAGE, ROWS_PRODUCED
FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY_BY_USER(RESULT_LIMIT => 10000))
WHERE {condition} ORDER BY START_TIME LIMIT 1
"""
_BY_TAG = _STATEMENT.format(condition="STARTSWITH(QUERY_TAG, ?)")
_BY_ID = _STATEMENT.format(condition="QUERY_ID = ?")
_LONGEST_MESSAGE = 2_000


@dataclass(frozen=True)
class PastStatement:
    """What the history tells of a statement."""

    query_id: str
    status: str
    """EXECUTION_STATUS, in capitals."""
    started: datetime | None = None
    ended: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    rows: str | None = None


class QueryHistory:
    """The history, as one caller sees it."""

    def __init__(self, api: StatementsApi, where: Mapping[str, str]) -> None:
        """:param where: ``database``, ``warehouse`` and perhaps ``role``, as the SQL API takes them."""
        self._api = api
        self._where = where

    async def with_key(self, key: str) -> PastStatement | None:
        """The first statement under an idempotency key. Of several that one request held, that is the request itself.

        :raises ConnectorError: the history cannot be read.
        """
        return await self._first(_BY_TAG, f'{KEY_IN_TAG}{key}"')

    async def with_id(self, query_id: str) -> PastStatement | None:
        """The statement of this id.

        :raises ConnectorError: the history cannot be read.
        """
        return await self._first(_BY_ID, query_id)

    async def _first(self, statement: str, value: str) -> PastStatement | None:
        body = {
            **self._where,
            "statement": statement,
            "bindings": {"1": {"type": "TEXT", "value": value}},
            "parameters": {"QUERY_TAG": "connectors: looks up a statement"},
        }
        try:
            rows = await self._api.rows(body)
        except ConnectorError as error:
            # A look-up that failed tells nothing about the statement that it was to find: its error may not either.
            if error.retryable or not error.proves_no_job:
                raise
            raise type(error)(f"the query history cannot be read: {error.message}") from error
        return _past(rows[0]) if rows else None


def _past(row: list[Any]) -> PastStatement:
    if len(row) != 7 or not isinstance(row[0], str) or not isinstance(row[1], str):
        raise Unavailable("Snowflake's query history has another form than it should")
    return PastStatement(
        query_id=row[0],
        status=row[1].upper(),
        started=_instant(row[2]),
        ended=_instant(row[3]),
        error_code=str(row[4] or ""),
        error_message=str(row[5] or "")[:_LONGEST_MESSAGE],
        rows=None if row[6] is None else str(row[6]),
    )


def _instant(value: Any) -> datetime | None:
    """Milliseconds since 1970; a statement that still runs has an end at their beginning."""
    try:
        milliseconds = float(value)
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None
