"""A task as a request of the SQL API."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from connectors import InvalidRequest, LiteralType, TaskExecutionMetadata, TaskTemplate
from connectors.testing.contexts import NewContext
from connectors_snowflake import SnowflakeConfig
from connectors_snowflake._request import StatementRequest

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]
KEY = "8d5cf6a3-0f4c-5b0e-9c39-0a2a95644d2e"


@pytest.mark.parametrize("flyte1", [False, True])
async def test_each_protocols_connection_is_the_same_request(
    query: Query, new_context: NewContext, flyte1: bool
) -> None:
    request = StatementRequest.of(query("SELECT 1", flyte1=flyte1), new_context())
    assert request.body(KEY) == {
        "statement": "SELECT 1",
        "database": "SALES",
        "schema": "PUBLIC",
        "warehouse": "SMALL",
        "parameters": {
            "QUERY_TAG": f'{{"connectors-key":"{KEY}","flyte-project":"Sales","flyte-domain":"production",'
            '"flyte-execution":"f3a.1","flyte-node":"n0","flyte-attempt":"2"}'
        },
    }


async def test_a_name_in_quotes_keeps_its_case(query: Query, new_context: NewContext) -> None:
    task = query(database='"sales"', schema='"a b"', warehouse='"w"', connection_kwargs={"role": '"r"'})
    body = StatementRequest.of(task, new_context()).body(KEY)
    assert (body["database"], body["schema"], body["warehouse"], body["role"]) == ("sales", "a b", "w", "r")


@pytest.mark.parametrize("missing", ["account", "user", "database", "warehouse"])
async def test_a_connection_without_one_of_its_parts_is_refused(
    query: Query, new_context: NewContext, missing: str
) -> None:
    for flyte1 in (False, True):
        with pytest.raises(InvalidRequest, match=f"the task has no {missing}"):
            StatementRequest.of(query(**{missing: None}, flyte1=flyte1), new_context())


async def test_the_schema_is_public_where_the_task_names_none(query: Query, new_context: NewContext) -> None:
    assert StatementRequest.of(query(schema=None), new_context()).schema == "PUBLIC"


async def test_a_task_without_a_statement_is_refused(query: Query, new_context: NewContext) -> None:
    for task in (query("  "), replace(query(), sql=None)):
        with pytest.raises(InvalidRequest, match="no SQL statement"):
            StatementRequest.of(task, new_context())


async def test_inputs_are_bound(query: Query, new_context: NewContext) -> None:
    task = query("SELECT %(n)s", declared={"n": LiteralType("float")})
    body = StatementRequest.of(task, new_context(inputs={"n": 1})).body(KEY)
    assert body["statement"] == "SELECT ?"
    assert body["bindings"] == {"1": {"type": "REAL", "value": "1.0"}}


async def test_a_batchs_inputs_are_rows(query: Query, new_context: NewContext) -> None:
    task = query("INSERT INTO t VALUES (%(n)s)", batch=True)
    body = StatementRequest.of(task, new_context(inputs={"n": [1, 2]})).body(KEY)
    assert body["statement"] == "INSERT INTO t VALUES (?), (?)"


async def test_a_batch_without_inputs_is_a_statement(query: Query, new_context: NewContext) -> None:
    assert StatementRequest.of(query("SELECT 1", batch=True), new_context()).body(KEY)["statement"] == "SELECT 1"


async def test_several_statements_are_told_as_such(query: Query, new_context: NewContext) -> None:
    body = StatementRequest.of(query("SELECT 1; SELECT 2"), new_context()).body(KEY)
    assert body["parameters"]["MULTI_STATEMENT_COUNT"] == "0"


async def test_a_tasks_own_count_of_statements_is_kept(query: Query, new_context: NewContext) -> None:
    block = "CREATE PROCEDURE p() RETURNS INT LANGUAGE SQL AS BEGIN RETURN 1; END; CALL p()"
    assert "MULTI_STATEMENT_COUNT" not in StatementRequest.of(query(block), new_context()).body(KEY)["parameters"]
    options = {"session_parameters": {"multi_statement_count": 2}}
    body = StatementRequest.of(query(block, connection_kwargs=options), new_context()).body(KEY)
    assert body["parameters"]["MULTI_STATEMENT_COUNT"] == "2"


async def test_several_statements_with_inputs_are_refused(query: Query, new_context: NewContext) -> None:
    with pytest.raises(InvalidRequest, match="binds no inputs"):
        StatementRequest.of(query("SELECT 1; SELECT %(n)s"), new_context(inputs={"n": 1}))


async def test_session_parameters_are_sent_as_text(query: Query, new_context: NewContext) -> None:
    options = {
        "session_parameters": {
            "use_cached_result": False,
            "ROWS_PER_RESULTSET": 10,
            "STATEMENT_TIMEOUT_IN_SECONDS": 60,
            "QUERY_TAG": 'the "user\'s" own',
        },
        "timezone": "UTC",
        "login_timeout": 5,
    }
    body = StatementRequest.of(query(connection_kwargs=options), new_context()).body(KEY)
    tag = body["parameters"].pop("QUERY_TAG")
    assert body["parameters"] == {"USE_CACHED_RESULT": "false", "ROWS_PER_RESULTSET": "10", "TIMEZONE": "UTC"}
    assert body["timeout"] == 60
    assert json.loads(tag)["tag"] == 'the "user\'s" own'


async def test_a_tag_begins_with_the_key_whoever_calls(query: Query, new_context: NewContext) -> None:
    tag = StatementRequest.of(query(), new_context(metadata=TaskExecutionMetadata())).body(KEY)["parameters"]
    assert tag == {"QUERY_TAG": f'{{"connectors-key":"{KEY}"}}'}


@pytest.mark.parametrize(
    ("custom", "reason"),
    [
        ({"account": "a/b"}, "no account identifier"),
        ({"account": 5}, "account must be a string"),
        ({"connection_kwargs": "role"}, "must map"),
        ({"connection_kwargs": {"password": "x"}}, r"connection_kwargs\.password: a task must hold no secret"),
        ({"connection_kwargs": {"token": "x"}}, "a task must hold no secret"),
        ({"connection_kwargs": {"host": "x"}}, "no counterpart"),
        ({"connection_kwargs": {"autocommit": False}}, "commits by itself"),
        ({"connection_kwargs": {"role": 1}}, "role must be a string"),
        ({"connection_kwargs": {"authenticator": "externalbrowser"}}, "'snowflake_jwt' or 'oauth'"),
        ({"connection_kwargs": {"session_parameters": []}}, "must map"),
        ({"connection_kwargs": {"session_parameters": {"X": {}}}}, r"session_parameters\.X must be"),
        ({"connection_kwargs": {"session_parameters": {"STATEMENT_TIMEOUT_IN_SECONDS": "-1"}}}, "whole number"),
        ({"secrets": []}, "secrets must map"),
        ({"secrets": {"snowflake_private_key": 1}}, "secrets must map"),
    ],
)
async def test_what_no_request_can_have_is_refused(
    query: Query, new_context: NewContext, custom: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        StatementRequest.of(query(**custom), new_context())


async def test_a_tag_that_is_too_long_is_refused(query: Query, new_context: NewContext) -> None:
    task = query(connection_kwargs={"session_parameters": {"QUERY_TAG": "x" * 1_900}})
    with pytest.raises(InvalidRequest, match="below 2000 characters"):
        StatementRequest.of(task, new_context()).body(KEY)


async def test_the_typed_config_is_what_flyte_2_sends(query: Query, new_context: NewContext) -> None:
    config = SnowflakeConfig(
        account="example-main",
        user="loader",
        database="sales",
        warehouse="small",
        role="loader_role",
        batch=True,
        authenticator="oauth",
        session_parameters={"TIMEZONE": "UTC"},
        secrets={"snowflake_oauth_token": "TEAM_TOKEN"},
    )
    assert config.to_custom() == {
        "account": "example-main",
        "user": "loader",
        "database": "sales",
        "schema": "PUBLIC",
        "warehouse": "small",
        "batch": True,
        "connection_kwargs": {
            "role": "loader_role",
            "authenticator": "oauth",
            "session_parameters": {"TIMEZONE": "UTC"},
        },
        "secrets": {"snowflake_oauth_token": "TEAM_TOKEN"},
    }
    request = StatementRequest.of(replace(query(), custom=config.to_custom()), new_context())
    assert (request.authenticator, request.secret_names) == ("oauth", {"snowflake_oauth_token": "TEAM_TOKEN"})


async def test_the_shortest_config_is_the_connection_alone() -> None:
    assert list(SnowflakeConfig("a", "u", "d", "w").to_custom()) == [
        "account",
        "user",
        "database",
        "schema",
        "warehouse",
    ]
