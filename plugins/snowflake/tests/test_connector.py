"""The connector against a Snowflake that does what no emulator does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from connectors import (
    ConnectorError,
    InvalidRequest,
    KeyTaken,
    LiteralType,
    NotFound,
    PermissionDenied,
    Phase,
    StructuredDataset,
    TaskTemplate,
    Unavailable,
)
from connectors.testing.contexts import NewContext
from connectors_snowflake import SnowflakeConnector, SnowflakeJob, SnowflakeSettings
from plugins.snowflake.tests.conftest import CONNECTION, KEY, attempt
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake, Fault

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]
RETENTION = 7 * 86_400.0


# --- create


async def test_a_create_is_a_look_up_and_a_request(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    task = query("SELECT %(n)s", declared={"n": LiteralType("integer")}, connection_kwargs={"role": "loader"})
    job = await connector.create(task, new_context(KEY, inputs={"n": 1}, adopt_within=RETENTION))
    assert [call.operation for call in snowflake.calls] == ["look_up", "submit"]
    sent = snowflake.last("submit")
    assert sent.query == {"async": "true", "requestId": KEY}
    assert sent.body["statement"] == "SELECT ?"
    assert (sent.body["role"], sent.body["warehouse"]) == ("LOADER", "SMALL")
    assert sent.headers["User-Agent"].startswith("connectors-snowflake/")
    assert job.query_id in snowflake.statements


async def test_a_batch_is_one_statement(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    task = query("INSERT INTO t VALUES (%(n)s)", batch=True)
    await connector.create(task, new_context(inputs={"n": [1, 2]}))
    assert [call.body["statement"] for call in snowflake.calls[1:]] == ["INSERT INTO t VALUES (?), (?)"]


async def test_a_look_up_runs_where_the_statement_would(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    await connector.create(query(connection_kwargs={"role": "loader"}), new_context(KEY))
    sent = snowflake.last("look_up")
    where = {name: sent.body[name] for name in ("database", "warehouse", "role")}
    assert where == {"database": "SALES", "warehouse": "SMALL", "role": "LOADER"}
    assert sent.body["bindings"] == {"1": {"type": "TEXT", "value": f'{{"connectors-key":"{KEY}"'}}
    assert "async" not in sent.query
    assert KEY not in sent.body["parameters"]["QUERY_TAG"]


async def test_a_look_up_has_its_own_warehouse_by_setting(
    query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    settings = SnowflakeSettings(endpoint=snowflake.url, look_up_warehouse="tiny")
    await SnowflakeConnector(settings).create(query(), new_context())
    assert snowflake.last("look_up").body["warehouse"] == "TINY"
    assert snowflake.last("submit").body["warehouse"] == "SMALL"


async def test_a_request_is_a_resend_where_an_earlier_ones_outcome_is_unknown(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    await connector.create(query(), new_context(KEY))
    assert snowflake.last("submit").query["retry"] == "true"


async def test_a_statement_that_ended_and_is_not_in_the_history_yet_is_not_run_again(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.history_lags = True
    snowflake.new_statement = {"status": "SUCCESS"}
    snowflake.faults["submit"].append(Fault(carried_out=True, hangs_up=True))
    job = await attempt(connector, query(), new_context)
    assert [job.query_id] == list(snowflake.statements)


async def test_without_look_ups_a_first_create_is_one_request(
    query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    connector = SnowflakeConnector(SnowflakeSettings(endpoint=snowflake.url, look_up_first=False))
    await connector.create(query(), new_context(adopt_within=RETENTION))
    assert [call.operation for call in snowflake.calls] == ["submit"]


async def test_without_look_ups_a_lost_answers_statement_is_found_all_the_same(
    query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    connector = SnowflakeConnector(SnowflakeSettings(endpoint=snowflake.url, look_up_first=False))
    ctx = new_context(KEY, adopt_within=RETENTION)
    snowflake.faults["submit"].append(Fault(carried_out=True, hangs_up=True))
    with pytest.raises(Unavailable):
        await connector.create(query(), ctx)
    ctx.adopt_undated()  # as the engine does after such an error
    job = await connector.create(query(), ctx)
    assert [job.query_id] == list(snowflake.statements)


async def test_a_statement_younger_than_the_retention_is_adopted(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.clock = lambda: time.time() - RETENTION + 60
    first = await connector.create(query(), new_context(KEY))
    assert await connector.create(query(), new_context(KEY, adopt_within=RETENTION)) == first


async def test_an_older_statement_is_an_earlier_runs(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.clock = lambda: time.time() - RETENTION - 60
    await connector.create(query(), new_context(KEY))
    with pytest.raises(KeyTaken, match="by an earlier run"):
        await connector.create(query(), new_context(KEY, adopt_within=RETENTION))


async def test_a_key_that_another_begins_with_is_not_found(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    await connector.create(query(), new_context(KEY + "-more"))
    await connector.create(query(), new_context(KEY))
    assert len(snowflake.statements) == 2


async def test_of_one_request_of_several_statements_the_request_is_adopted(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    first = await connector.create(query("SELECT 1; SELECT 2"), new_context(KEY))
    parent = snowflake.statements[first.query_id]
    child = replace(parent, handle=str(uuid4()), started=parent.started + 0.5)
    snowflake.statements = {child.handle: child, **snowflake.statements}
    assert await connector.create(query("SELECT 1; SELECT 2"), new_context(KEY)) == first


async def test_a_statement_that_does_not_compile_is_a_job_that_failed(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.new_statement = {
        "status": "FAILED_WITH_ERROR",
        "code": "001003",
        "sql_state": "42000",
        "message": "SQL compilation error",
    }
    job = await connector.create(query("SELEC 1"), new_context(KEY))
    result = await connector.get(job, new_context())
    assert (result.phase, result.message) == (
        Phase.FAILED,
        "SQL compilation error (code 001003, SQL state 42000)",
    )


async def test_a_request_that_made_no_statement_proves_it(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.faults["submit"].append(Fault(422, "391911", "Unsupported statement type 'USE'"))
    with pytest.raises(InvalidRequest, match="Unsupported statement type 'USE'"):
        await connector.create(query("USE ROLE x"), new_context())


@pytest.mark.parametrize(
    "case",
    [
        (Fault(408, "000630", "timed out"), Unavailable),
        (Fault(202, "333334", "still running"), Unavailable),
        (Fault(422, "000606", "No active warehouse selected"), InvalidRequest),
        (Fault(403, "390189", "Role is not granted"), PermissionDenied),
    ],
)
async def test_without_its_look_up_a_create_makes_nothing(
    connector: SnowflakeConnector,
    query: Query,
    new_context: NewContext,
    snowflake: FakeSnowflake,
    case: tuple[Fault, type[ConnectorError]],
) -> None:
    fault, error = case
    snowflake.faults["look_up"].append(fault)
    with pytest.raises(error):
        await connector.create(query(), new_context())
    assert snowflake.statements == {}


# --- the meta


async def test_flyte_1s_meta_has_the_references_fields_and_no_other(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    job = await connector.create(query(flyte1=True), new_context())
    assert json.loads(job.encode()) == {**CONNECTION, "query_id": job.query_id, "has_output": True}


async def test_connection_kwargs_are_kept_for_the_reference_of_flyte_2(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    job = await connector.create(query(connection_kwargs={"role": "r"}, outputs={}), new_context(protocol="flyte2"))
    assert json.loads(job.encode())["connection_kwargs"] == {"role": "r"}
    assert not job.has_output


# --- get


@pytest.mark.parametrize(
    "case",
    [
        ("flyte1", "snowflake://loader:example-main/small/sales/PUBLIC/"),
        ("flyte2", "snowflake://loader/example-main/small/sales/PUBLIC/"),
    ],
)
async def test_the_output_is_the_results_address_in_the_protocols_form(
    connector: SnowflakeConnector,
    query: Query,
    new_context: NewContext,
    snowflake: FakeSnowflake,
    case: tuple[Any, str],
) -> None:
    protocol, location = case
    snowflake.new_statement = {"status": "SUCCESS"}
    job = await connector.create(query(), new_context())
    result = await connector.get(job, new_context(protocol=protocol))
    assert result.outputs == {"results": StructuredDataset(uri=location + job.query_id)}
    assert [link.uri for link in result.log_links] == [
        f"https://app.snowflake.com/example/main/#/compute/history/queries/{job.query_id}/detail"
    ]


@pytest.mark.parametrize(
    "case",
    [("RESUMING_WAREHOUSE", Phase.WAITING_FOR_RESOURCES), ("QUEUED", Phase.QUEUED), ("SUCCESS", Phase.SUCCEEDED)],
)
async def test_a_statement_that_a_driver_started_is_looked_up(
    connector: SnowflakeConnector,
    query: Query,
    new_context: NewContext,
    snowflake: FakeSnowflake,
    case: tuple[str, Phase],
) -> None:
    status, phase = case
    snowflake.new_statement = {"status": status, "is_known": False}
    job = await connector.create(query(), new_context())
    assert (await connector.get(job, new_context())).phase is phase


async def test_a_statement_is_missing_where_the_history_cannot_be_read(
    connector: SnowflakeConnector, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.faults["look_up"].append(Fault(422, "000606", "No active warehouse selected"))
    with pytest.raises(NotFound):
        await connector.get(SnowflakeJob(**CONNECTION, query_id="01b2", has_output=False), new_context())


async def test_a_history_that_does_not_answer_ends_no_job(
    connector: SnowflakeConnector, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.faults["look_up"].append(Fault(503))
    with pytest.raises(Unavailable):
        await connector.get(SnowflakeJob(**CONNECTION, query_id="01b2", has_output=False), new_context())


async def test_a_success_that_names_no_statement_ends_no_job(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    job = await connector.create(query(), new_context())
    snowflake.faults["get"].append(Fault(200, "090001", "Statement executed successfully."))
    with pytest.raises(Unavailable):
        await connector.get(job, new_context())


async def test_a_get_is_one_request(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    job = await connector.create(query(), new_context())
    snowflake.calls.clear()
    await connector.get(job, new_context())
    assert [call.operation for call in snowflake.calls] == ["get"]


# --- delete


async def test_a_deleted_statement_fails_in_snowflakes_words(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    job = await connector.create(query(), new_context())
    await connector.delete(job, new_context())
    result = await connector.get(job, new_context())
    assert (result.phase, result.message) == (
        Phase.FAILED,
        "SQL execution canceled (code 000604, SQL state 57014)",
    )


async def test_a_statement_that_a_driver_started_is_cancelled_and_a_second_delete_is_quiet(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.new_statement = {"is_known": False}
    job = await connector.create(query(), new_context())
    await connector.delete(job, new_context())
    assert snowflake.statements[job.query_id].status == "ABORTED"
    await connector.delete(job, new_context())


async def test_a_cancel_that_is_not_answered_is_not_carried_out(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    snowflake.new_statement = {"is_known": False}
    job = await connector.create(query(), new_context())
    snowflake.faults["cancel_query"].append(Fault(503))
    with pytest.raises(Unavailable):
        await connector.delete(job, new_context())


async def test_a_password_in_a_meta_of_flytes_own_connector_is_not_shown() -> None:
    job = SnowflakeJob(**CONNECTION, query_id="01b2", has_output=True, connection_kwargs={"password": "of-theirs"})
    assert "of-theirs" not in repr(job)


async def test_a_delete_that_snowflake_refuses_is_an_error(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    job = await connector.create(query(), new_context())
    snowflake.faults["cancel"].append(Fault(422, "003001", "Insufficient privileges"))
    with pytest.raises(Unavailable, match="Insufficient privileges"):
        await connector.delete(job, new_context())
