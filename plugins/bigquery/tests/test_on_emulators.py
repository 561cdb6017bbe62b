"""The connector against BigQuery emulators that others wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from connectors import HttpClient, KeyTaken, LiteralType, NotFound, Phase, Resource, StructuredDataset, TaskTemplate
from connectors.testing.contexts import NewContext
from connectors_bigquery import BigQueryConnector, BigQueryJob

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]
SLOW = (
    "SELECT COUNT(*) AS n FROM UNNEST(GENERATE_ARRAY(1, 100000)) a, UNNEST(GENERATE_ARRAY(1, 100000)) b WHERE a * b > 7"
)


class Platform:
    """An emulator, and the connector that speaks to it."""

    def __init__(self, url: str, http: HttpClient, new_context: NewContext) -> None:
        self.url = url
        self.connector = BigQueryConnector()
        self.http = http
        self.new_context = new_context

    async def run(self, task: TaskTemplate, **context: Any) -> Resource:
        job = await self.connector.create(task, self.new_context(**context))
        return await self.until(job, lambda result: result.phase.is_terminal)

    async def until(self, job: BigQueryJob, reached: Callable[[Resource], bool]) -> Resource:
        async with asyncio.timeout(60):
            while not reached(  # noqa: ASYNC110
                result := await self.connector.get(job, self.new_context())
            ):
                await asyncio.sleep(0.05)  # the job is in another process: there is no event to wait for
        return result

    async def rows(self, result: Resource) -> list[list[Any]]:
        """What the job wrote, read as anybody would read it: through the output's address."""
        assert result.phase is Phase.SUCCEEDED, result.message
        assert result.outputs is not None
        dataset = result.outputs["results"]
        assert isinstance(dataset, StructuredDataset)
        project, table = dataset.uri.removeprefix("bq://").split(":")
        address = "{}/bigquery/v2/projects/{}/datasets/{}/tables/{}/data".format(self.url, project, *table.split("."))
        answer = await self.http.request("GET", address)
        assert answer.status == 200, answer.text()
        return [[cell["v"] for cell in row["f"]] for row in answer.json().get("rows", [])]

    async def new_table(self) -> str:
        """An empty table of whole numbers, as a statement names it."""
        dataset = {"datasetReference": {"projectId": "example-project", "datasetId": "reports"}}
        answer = await self.http.request(
            "POST", f"{self.url}/bigquery/v2/projects/example-project/datasets", json=dataset
        )
        assert answer.status in {200, 409}, answer.text()
        return f"reports.t{uuid4().hex}"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, http: HttpClient, new_context: NewContext) -> Callable[[str], Platform]:
    def at(url: str) -> Platform:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        return Platform(url, http, new_context)

    return at


@pytest.fixture(params=["crucible_url", "local_bigquery_url"])
def emulator(request: pytest.FixtureRequest, on: Callable[[str], Platform]) -> Platform:
    """Each test that asks for it runs on both."""
    return on(request.getfixturevalue(request.param))


@pytest.fixture
def large_emulator(local_bigquery_url: str, on: Callable[[str], Platform]) -> Platform:
    """The one with query parameters and jobs that run for a while."""
    return on(local_bigquery_url)


# --- on both


async def test_a_query_succeeds_and_its_rows_are_where_the_output_says(emulator: Platform, query: Query) -> None:
    result = await emulator.run(query("SELECT 1 AS n UNION ALL SELECT 2 ORDER BY n"))
    assert await emulator.rows(result) == [["1"], ["2"]]


async def test_a_repeated_create_writes_its_row_once(emulator: Platform, query: Query) -> None:
    table, key = await emulator.new_table(), str(uuid4())
    assert (await emulator.run(query(f"CREATE TABLE {table} (n INT64)"))).phase is Phase.SUCCEEDED
    insert = query(f"INSERT INTO {table} (n) VALUES (1)")  # noqa: S608 - a name of the test's own
    jobs = [await emulator.connector.create(insert, emulator.new_context(key)) for _ in range(3)]
    await emulator.until(jobs[0], lambda result: result.phase is Phase.SUCCEEDED)
    assert len(set(jobs)) == 1
    count = query(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 - as above
    assert await emulator.rows(await emulator.run(count)) == [["1"]]


async def test_a_fresh_job_is_adopted_and_one_past_the_retention_is_not(emulator: Platform, query: Query) -> None:
    key = str(uuid4())
    first = await emulator.connector.create(query("SELECT 1"), emulator.new_context(key))
    assert await emulator.connector.create(query("SELECT 1"), emulator.new_context(key, adopt_within=60.0)) == first
    with pytest.raises(KeyTaken):
        await emulator.connector.create(query("SELECT 1"), emulator.new_context(key, adopt_within=0.0))


async def test_a_query_that_cannot_run_fails_in_bigquerys_words(emulator: Platform, query: Query) -> None:
    result = await emulator.run(query("SELECT * FROM no_such_dataset.t"))
    assert result.phase is Phase.FAILED
    assert "no_such_dataset was not found" in result.message


async def test_bad_sql_fails(emulator: Platform, query: Query) -> None:
    result = await emulator.run(query("SELEC 1"))
    assert result.phase is Phase.FAILED
    assert result.custom_info is not None
    assert result.custom_info["error_reason"] == "invalidQuery"


async def test_a_delete_of_a_finished_job_changes_nothing(emulator: Platform, query: Query) -> None:
    context = emulator.new_context()
    job = await emulator.connector.create(query("SELECT 1"), context)
    before = await emulator.until(job, lambda result: result.phase.is_terminal)
    await emulator.connector.delete(job, context)
    assert (await emulator.connector.get(job, context)).phase is before.phase is Phase.SUCCEEDED


async def test_a_missing_job_is_not_found_and_its_delete_is_quiet(emulator: Platform) -> None:
    missing = BigQueryJob(str(uuid4()), "example-project", "US")
    with pytest.raises(NotFound):
        await emulator.connector.get(missing, emulator.new_context())
    await emulator.connector.delete(missing, emulator.new_context())


async def test_what_the_job_cost_is_told(emulator: Platform, query: Query) -> None:
    result = await emulator.run(query("SELECT 1"))
    assert result.custom_info is not None
    assert {"bytes_processed", "started", "ended", "statement_type"} <= result.custom_info.keys()


# --- on the small one, which is strict about ids when requests come at once


async def test_creates_at_once_under_one_key_have_one_answer(
    crucible_url: str, on: Callable[[str], Platform], query: Query
) -> None:
    small, key = on(crucible_url), str(uuid4())
    creates = (small.connector.create(query("SELECT 1"), small.new_context(key)) for _ in range(8))
    assert set(await asyncio.gather(*creates)) == {BigQueryJob(key, "example-project", "US")}


# --- on the large one


async def test_inputs_of_every_type_arrive_as_they_are(large_emulator: Platform, query: Query) -> None:
    inputs = {
        "i": 2**63 - 1,
        "s": "it's 'é'",
        "b": True,
        "y": b"\x00\xff",
        "d": datetime(2024, 1, 2, 3, 4, 5, 6, UTC),
        "f": 0.1,
        "none": None,
        "list": [3, 4],
        "empty": [],
    }
    declared = {"none": LiteralType("integer"), "empty": LiteralType("collection", element=LiteralType("string"))}
    statement = """
        SELECT @i, @s, @b, TO_HEX(@y), CAST(@d AS STRING), @f, @none IS NULL,
               (SELECT SUM(x) FROM UNNEST(@list) x), ARRAY_LENGTH(@empty)
    """
    rows = await large_emulator.rows(await large_emulator.run(query(statement, declared=declared), inputs=inputs))
    assert rows == [
        ["9223372036854775807", "it's 'é'", "true", "00ff", "2024-01-02 03:04:05.000006", "0.1", "true", "7", "0"]
    ]


async def test_the_job_configurations_destination_is_the_output(large_emulator: Platform, query: Query) -> None:
    dataset, name = (await large_emulator.new_table()).split(".")
    table = {"projectId": "example-project", "datasetId": dataset, "tableId": name}
    result = await large_emulator.run(query("SELECT 7", destinationTable=table, writeDisposition="WRITE_TRUNCATE"))
    assert result.outputs == {"results": StructuredDataset(uri=f"bq://example-project:{dataset}.{name}")}
    assert await large_emulator.rows(result) == [["7"]]


async def test_a_delete_cancels_a_running_job(large_emulator: Platform, query: Query) -> None:
    context = large_emulator.new_context()
    job = await large_emulator.connector.create(query(SLOW), context)
    await large_emulator.until(job, lambda result: result.phase is Phase.RUNNING)
    await large_emulator.connector.delete(job, context)
    result = await large_emulator.until(job, lambda result: result.phase.is_terminal)
    assert result.phase is Phase.FAILED
    assert result.custom_info is not None
    assert result.custom_info["error_reason"] == "stopped"
