"""A task as the body of a ``POST /api/v2/statements``: statement, bindings, where it runs, tag.

Flyte 1 sends the connection in ``template.config``, Flyte 2 in ``template.custom``, by the same names. The rest of
``custom`` is Flyte 2's: ``batch``, ``connection_kwargs`` (what the driver would connect with) and ``secrets``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors import Context, InvalidRequest, TaskTemplate
from connectors_snowflake._accounts import Account, folded
from connectors_snowflake._bindings import bind, bind_rows
from connectors_snowflake._credentials import SECRETS, Authenticator, authenticator_of
from connectors_snowflake._history import KEY_IN_TAG
from connectors_snowflake._sql import has_several_statements

__all__ = ["StatementRequest", "surroundings"]

_DEFAULT_SCHEMA = "PUBLIC"  # Flyte 2's
_LONGEST_TAG = 2_000  # https://docs.snowflake.com/en/sql-reference/parameters#query-tag
_LONGEST_OWNER = 100  # characters of each of the owner's names
# What a driver does with a connection or a session of its own, and has no meaning for single requests.
_WITHOUT_MEANING = frozenset({
    "application", "arrow_number_to_decimal", "client_fetch_threads", "client_prefetch_threads",
    "client_session_keep_alive", "client_session_keep_alive_heartbeat_frequency", "disable_ocsp_checks",
    "enable_connection_diag", "login_timeout", "network_timeout", "numpy", "ocsp_fail_open",
    "ocsp_response_cache_filename", "session_id", "socket_timeout", "support_negative_year",
    "validate_default_parameters",
})  # fmt: skip
_SECRET = frozenset({"passcode", "password", "private_key", "private_key_file_pwd", "private_key_passphrase", "token"})


@dataclass(frozen=True)
class StatementRequest:
    """What to send, and where."""

    account: Account
    user: str
    database: str
    schema: str
    warehouse: str
    connection_kwargs: Mapping[str, Any]
    """As the task gave them; none of them is a secret."""
    authenticator: Authenticator
    secret_names: Mapping[str, str]
    """The names that the task gave to secrets, by what they are for."""
    has_output: bool
    content: Mapping[str, Any]
    """The statement, its bindings and its parameters, but for the tag."""
    tag: Mapping[str, str]

    @classmethod
    def of(cls, task: TaskTemplate, ctx: Context) -> StatementRequest:
        """The request that a task stands for.

        :raises InvalidRequest: the task has no statement or no connection, or holds something that no request can have.
        """
        if task.sql is None or not task.sql.statement.strip():
            raise InvalidRequest("the task has no SQL statement")
        given = {**task.config, **{name: value for name, value in task.custom.items() if value is not None}}
        options = _connection_kwargs(given)
        content, own_tag = _content(task, task.sql.statement, ctx, given, options)
        return cls(
            account=Account.of(_text(given, "account")),
            user=_text(given, "user"),
            database=_text(given, "database"),
            schema=_text(given, "schema", _DEFAULT_SCHEMA),
            warehouse=_text(given, "warehouse"),
            connection_kwargs=options,
            authenticator=authenticator_of(options),
            secret_names=_secret_names(given),
            has_output=bool(task.interface.outputs),
            content=content,
            tag={**_owner(ctx), **({"tag": own_tag} if own_tag else {})},
        )

    def body(self, key: str) -> dict[str, Any]:
        """The body that starts the statement under an idempotency key.

        :raises InvalidRequest: the task's own tag is too long.
        """
        tag = (
            KEY_IN_TAG
            + key
            + '"'
            + "".join(f",{json.dumps(name)}:{json.dumps(text)}" for name, text in self.tag.items())
        )
        if len(tag) >= _LONGEST_TAG:
            raise InvalidRequest(f"QUERY_TAG: with the connector's own part it must be below {_LONGEST_TAG} characters")
        parameters = {**self.content["parameters"], "QUERY_TAG": tag + "}"}
        where = surroundings(self.database, self.warehouse, self.connection_kwargs)
        return {**self.content, **where, "schema": folded(self.schema), "parameters": parameters}


def surroundings(database: str, warehouse: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Where a statement runs, as the SQL API takes it."""
    role = options.get("role")
    named = {"database": database, "warehouse": warehouse, "role": role if isinstance(role, str) else ""}
    return {name: folded(value) for name, value in named.items() if value}


def _text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name) or default
    if value is None:
        raise InvalidRequest(f"the task has no {name}: it must be in its custom or its config")
    if not isinstance(value, str):
        raise InvalidRequest(f"the task's {name} must be a string")
    return value


def _connection_kwargs(given: Mapping[str, Any]) -> dict[str, Any]:
    options = given.get("connection_kwargs", {})
    if not isinstance(options, Mapping):
        raise InvalidRequest("connection_kwargs must map names to values")
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name in _SECRET:
            raise InvalidRequest(
                f"connection_kwargs.{name}: a task must hold no secret; use one of {', '.join(SECRETS)}"
            )
        if name not in _WITHOUT_MEANING | {"authenticator", "autocommit", "role", "session_parameters", "timezone"}:
            raise InvalidRequest(f"connection_kwargs.{name} has no counterpart in Snowflake's SQL API")
    if options.get("autocommit") not in (None, True):
        raise InvalidRequest("connection_kwargs.autocommit: each request of the SQL API commits by itself")
    for name in ("role", "authenticator", "timezone"):
        if not isinstance(options.get(name, ""), str):
            raise InvalidRequest(f"connection_kwargs.{name} must be a string")
    return options


def _secret_names(given: Mapping[str, Any]) -> dict[str, str]:
    names = given.get("secrets", {})
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for name in names.values()):
        raise InvalidRequest("secrets must map what a secret is for to its name")
    return {purpose: name for purpose, name in names.items() if purpose in SECRETS and name and name != purpose}


def _content(
    task: TaskTemplate, statement: str, ctx: Context, given: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """The body's part that is the task's own, and the tag that the task gave."""
    declared = task.interface.inputs
    bound = bind_rows(statement, ctx.inputs, declared) if given.get("batch") and ctx.inputs else None
    bound = bound or bind(statement, ctx.inputs, declared)
    parameters = _session_parameters(options)
    own_tag = parameters.pop("QUERY_TAG", "")
    limit = parameters.pop("STATEMENT_TIMEOUT_IN_SECONDS", None)
    if has_several_statements(bound.statement):
        parameters.setdefault("MULTI_STATEMENT_COUNT", "0")  # however many
    if bound.bindings and parameters.get("MULTI_STATEMENT_COUNT", "1") != "1":
        raise InvalidRequest("Snowflake binds no inputs in a request of several statements: make it one, or a block")
    content: dict[str, Any] = {"statement": bound.statement, "parameters": parameters}
    if bound.bindings:
        content["bindings"] = bound.numbered()
    if limit is not None:
        if not limit.isdigit():
            raise InvalidRequest("STATEMENT_TIMEOUT_IN_SECONDS must be a whole number of seconds")
        content["timeout"] = int(limit)
    return content, own_tag


def _session_parameters(options: Mapping[str, Any]) -> dict[str, str]:
    """By their names in capitals; Snowflake judges which of them a request may set."""
    given = options.get("session_parameters", {})
    if not isinstance(given, Mapping):
        raise InvalidRequest("connection_kwargs.session_parameters must map names to values")
    parameters = {}
    for name, value in given.items():
        if not isinstance(value, str | int | float):
            raise InvalidRequest(f"connection_kwargs.session_parameters.{name} must be a string, a number or a boolean")
        parameters[str(name).upper()] = str(value).lower() if isinstance(value, bool) else str(value)
    if options.get("timezone"):
        parameters.setdefault("TIMEZONE", options["timezone"])
    return parameters


def _owner(ctx: Context) -> dict[str, str]:
    owner = ctx.metadata.task_execution_id
    if owner is None:
        return {}
    names = {
        "flyte-project": owner.project,
        "flyte-domain": owner.domain,
        "flyte-execution": owner.execution,
        "flyte-node": owner.node_id,
        "flyte-attempt": str(owner.retry_attempt),
    }
    return {name: value[:_LONGEST_OWNER] for name, value in names.items() if value}
