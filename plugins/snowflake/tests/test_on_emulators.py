"""The connector against a Snowflake that others wrote: it runs SQL, knows no tokens, and keeps no query history."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from connectors import HttpClient, InvalidRequest, NotFound, Phase, TaskTemplate
from connectors.testing.contexts import NewContext
from connectors_snowflake import SnowflakeConnector, SnowflakeJob, SnowflakeSettings
from connectors_snowflake._bindings import bind
from plugins.snowflake.tests.conftest import CONNECTION

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]
RETENTION = 86_400.0


@pytest.fixture
async def connector(snowduck_url: str) -> AsyncIterator[SnowflakeConnector]:
    connector = SnowflakeConnector(SnowflakeSettings(endpoint=snowduck_url, look_up_first=False))
    yield connector
    await connector.aclose()


async def started(connector: SnowflakeConnector, query: Query, new_context: NewContext) -> SnowflakeJob:
    """As a create of which the service knows that it is the first."""
    return await connector.create(query("SELECT 1"), new_context(adopt_within=RETENTION))


async def test_an_asynchronous_statement_runs(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    job = await started(connector, query, new_context)
    result = await connector.get(job, new_context())
    assert (result.phase, result.message) == (Phase.RUNNING, "Statement execution in progress.")


async def test_a_deleted_statement_is_cancelled(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    job = await started(connector, query, new_context)
    await connector.delete(job, new_context())
    result = await connector.get(job, new_context())
    assert (result.phase, result.message) == (
        Phase.FAILED,
        "Statement was cancelled. (code 000604, SQL state 57014)",
    )


async def test_a_second_delete_is_quiet(connector: SnowflakeConnector, query: Query, new_context: NewContext) -> None:
    job = await started(connector, query, new_context)
    await connector.delete(job, new_context())
    await connector.delete(job, new_context())


async def test_a_missing_statement_is_not_found_and_its_delete_is_quiet(
    connector: SnowflakeConnector, new_context: NewContext
) -> None:
    missing = SnowflakeJob(**CONNECTION, query_id="01b2c3d4", has_output=False)
    with pytest.raises(NotFound):
        await connector.get(missing, new_context())
    await connector.delete(missing, new_context())


async def test_a_history_that_cannot_be_read_is_told_in_snowflakes_words(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    with pytest.raises(InvalidRequest, match=r"(?s)the query history cannot be read: Snowflake: .*\(code 0"):
        await connector.create(query("SELECT 1"), new_context())


async def run(http: HttpClient, url: str, statement: str, inputs: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    """The statement with its inputs, as anybody would run it who waits for the rows."""
    bound = bind(statement, inputs, {})
    body = {"statement": bound.statement, "bindings": bound.numbered()}
    answer = await http.request("POST", f"{url}/api/v2/statements", json=body)
    return answer.status, json.loads(answer.body)


async def test_inputs_arrive_as_they_are(http: HttpClient, snowduck_url: str) -> None:
    statement = "SELECT %(i)s + 1, %(s)s, %(b)s, %(f)s, %(none)s IS NULL, '100%%', '%%(s)s', %(s)s -- it's %(s)s"
    inputs = {"i": 2**53, "s": "it's 'é' ?", "b": True, "f": 0.1, "none": None}
    _, body = await run(http, snowduck_url, statement, inputs)
    row = [str(cell).lower() for cell in body["data"][0]]
    assert row == [str(2**53 + 1), "it's 'é' ?", "true", "0.1", "true", "100%", "%(s)s", "it's 'é' ?"]


async def test_a_list_is_what_in_takes(http: HttpClient, snowduck_url: str) -> None:
    statement = "SELECT x FROM (SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT 3) WHERE x IN %(wanted)s ORDER BY x"
    _, body = await run(http, snowduck_url, statement, {"wanted": [1, 3]})
    assert [int(row[0]) for row in body["data"]] == [1, 3]


async def test_what_a_value_says_is_not_run(http: HttpClient, snowduck_url: str) -> None:
    status, body = await run(http, snowduck_url, "SELECT %(x)s", {"x": "'; DROP TABLE t; --"})
    assert (status, body["data"]) == (200, [["'; DROP TABLE t; --"]])
