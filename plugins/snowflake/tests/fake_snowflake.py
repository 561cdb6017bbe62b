"""What no emulator does: request ids, query tags and the history, signed tokens, warehouses that wait, limits.

An HTTP server with Snowflake's SQL API on 127.0.0.1. It runs no SQL: a statement is what its tests say it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectors.testing.stand_in import StandIn


@dataclass(frozen=True)
class Fault:
    """The answer to one call, in place of the right one."""

    status: int = 200
    code: str = ""
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    carried_out: bool = False
    """The call is carried out all the same: its answer alone is lost."""
    hangs_up: bool = False
    """The connection is closed in place of an answer."""


@dataclass
class Statement:
    """A statement, and what the API and the history tell of it."""

    handle: str
    request_id: str
    body: Mapping[str, Any]
    user: str
    started: float
    status: str = "RUNNING"
    """As the history has it."""
    code: str = ""
    """Of its failure."""
    message: str = ""
    sql_state: str = ""
    children: tuple[str, ...] = ()
    rows: int = 1
    is_known: bool = True
    """To the SQL API; the history knows it all the same."""

    @property
    def tag(self) -> str:
        return str(self.body.get("parameters", {}).get("QUERY_TAG", ""))


_OWN = {"QUERY_HISTORY_BY_USER": "look_up", "SYSTEM$CANCEL_QUERY": "cancel_query"}
_OVER = {"SUCCESS": 200, "FAILED_WITH_ERROR": 422, "ABORTED": 422, "FAILED_WITH_INCIDENT": 422}


class FakeSnowflake(StandIn):
    """Its state is for tests to set and to read."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: dict[str, Statement] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        """By operation: submit, look_up, cancel_query, get, cancel."""
        self.keys: dict[str, RSAPublicKey] = {}
        """By user, as a token names one: ``ACCOUNT.USER``."""
        self.oauth_tokens: set[str] = set()
        self.new_statement: dict[str, Any] = {}
        """What a statement is made of, beside what the request says."""
        self.history_lags = False
        """Whether the history does not show what was submitted."""
        self.clock = time.time
        """What statements are made at."""

    def with_key(self, key: str) -> list[Statement]:
        return [statement for statement in self.statements.values() if f'"{key}"' in statement.tag]

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        statements = "/api/v2/statements"
        return [
            web.post(statements, self._post),
            web.get(statements + "/{handle}", self._get),
            web.post(statements + "/{handle}/cancel", self._cancel),
        ]

    # --- statements

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        operation = next((name for word, name in _OWN.items() if word in body["statement"]), "submit")
        fault = self._arrived(operation, request, body)
        if fault is not None and not fault.carried_out:
            return await _answer_with(fault, request)
        if (user := self._user(request)) is None:
            return _error(401, "390144", "JWT token is invalid.")
        match operation:
            case "look_up":
                answer = self._look_up(body, user)
            case "cancel_query":
                answer = self._cancel_query(body, user)
            case _:
                answer = self._submit(request, body, user)
        return answer if fault is None else await _answer_with(fault, request)

    def _submit(self, request: web.Request, body: Mapping[str, Any], user: str) -> web.Response:
        request_id = request.query.get("requestId", "")
        if request.query.get("retry") == "true":
            for statement in self.statements.values():
                # documented for statements that were executed; not for those that still run
                if statement.request_id == request_id and statement.status in _OVER:
                    return _told(statement)
        statement = Statement(str(uuid4()), request_id, body, user, self.clock(), **self.new_statement)
        self.statements[statement.handle] = statement
        if statement.code and statement.status == "FAILED_WITH_ERROR":
            return _told(statement)  # it does not compile
        return _running(statement)

    def _look_up(self, body: Mapping[str, Any], user: str) -> web.Response:
        (value,) = (binding["value"] for binding in body["bindings"].values())
        by_tag = "STARTSWITH(QUERY_TAG, ?)" in body["statement"]
        in_order = list(self.statements.values())
        if "ORDER BY START_TIME LIMIT 1" in body["statement"]:
            in_order.sort(key=lambda each: each.started)
        found = [
            statement
            for statement in in_order
            if statement.user == user
            and (statement.tag.startswith(value) if by_tag else statement.handle == value)
            and not self.history_lags
        ]
        rows = [
            [
                statement.handle,
                statement.status.lower(),
                str(int(statement.started * 1000)),
                "0",
                statement.code.lstrip("0") or None,
                statement.message or None,
                str(statement.rows),
            ]
            for statement in found[:1]
        ]
        return web.json_response(
            {
                "code": "090001",
                "statementHandle": str(uuid4()),
                "message": "Statement executed successfully.",
                "resultSetMetaData": {"numRows": len(rows)},
                "data": rows,
            }
        )

    def _cancel_query(self, body: Mapping[str, Any], user: str) -> web.Response:
        found = self.statements.get(body["statement"].split("'")[1])
        if found is None or found.user != user or found.status in _OVER:
            return _error(422, "000605", "Identified SQL statement is not currently executing.")
        found.status, found.code = "ABORTED", "000604"
        return web.json_response({"code": "090001", "statementHandle": str(uuid4()), "data": [["query terminated."]]})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return await self._about("get", request) or _told(self.statements[request.match_info["handle"]])

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        if answer := await self._about("cancel", request):
            return answer
        statement = self.statements[request.match_info["handle"]]
        if statement.status in _OVER:
            return _error(422, "000605", "Identified SQL statement is not currently executing.")
        statement.status, statement.code, statement.sql_state = "ABORTED", "000604", "57014"
        statement.message = "SQL execution canceled"
        return web.json_response({"code": "000604", "message": "SQL execution canceled"})

    async def _about(self, operation: str, request: web.Request) -> web.StreamResponse | None:
        """The answer where the statement is not what it is about."""
        fault = self._arrived(operation, request)
        if fault is not None:
            return await _answer_with(fault, request)
        user = self._user(request)
        if user is None:
            return _error(401, "390144", "JWT token is invalid.")
        statement = self.statements.get(request.match_info["handle"])
        if statement is None or not statement.is_known or statement.user != user:
            return _error(404, "390404", "No such statement.")
        return None

    # --- credentials

    def _user(self, request: web.Request) -> str | None:
        """Whose token it is, if it is good: a JWT is one that the user's registered key signed, for an hour at most."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        kind = request.headers.get("X-Snowflake-Authorization-Token-Type")
        if "User-Agent" not in request.headers:
            return None
        if kind == "OAUTH":
            return "oauth" if token in self.oauth_tokens else None
        try:
            subject = str(jwt.decode(token, options={"verify_signature": False})["sub"])
            key = self.keys[subject]
            claims = jwt.decode(token, key, algorithms=["RS256"], options={"require": ["iss", "sub", "iat", "exp"]})
        except (jwt.InvalidTokenError, KeyError):
            return None
        good = claims["exp"] - claims["iat"] <= 3600 and claims["iss"] == f"{subject}.{fingerprint(key)}"
        return subject if good else None

    # --- faults

    def _arrived(self, operation: str, request: web.Request, body: Any = None) -> Fault | None:
        self.note(operation, request, body)
        return self.faults[operation].popleft() if self.faults[operation] else None


def fingerprint(key: RSAPublicKey) -> str:
    """As ``DESCRIBE USER`` shows it in RSA_PUBLIC_KEY_FP."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def _running(statement: Statement) -> web.Response:
    body = {
        "code": "333334",
        "message": "Asynchronous execution in progress.",
        "statementHandle": statement.handle,
        "statementStatusUrl": f"/api/v2/statements/{statement.handle}",
    }
    return web.json_response(body, status=202)


def _told(statement: Statement) -> web.Response:
    if statement.status not in _OVER:
        return _running(statement)
    if statement.status != "SUCCESS":
        return _error(
            422, statement.code, statement.message, sqlState=statement.sql_state, statementHandle=statement.handle
        )
    body: dict[str, Any] = {
        "code": "090001",
        "message": "Statement executed successfully.",
        "statementHandle": statement.handle,
        "createdOn": int(statement.started * 1000),
        "resultSetMetaData": {"numRows": statement.rows},
        "data": [["1"]],
        "stats": {"numRowsInserted": 1},
    }
    if statement.children:
        body["statementHandles"] = list(statement.children)
    return web.json_response(body)


async def _answer_with(fault: Fault, request: web.Request) -> web.StreamResponse:
    if fault.hangs_up:
        assert request.transport is not None
        request.transport.abort()
    return _error(fault.status, fault.code, fault.message, headers=fault.headers)


def _error(
    status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **more: str
) -> web.Response:
    text = json.dumps({"code": code, "message": message, **{name: value for name, value in more.items() if value}})
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
