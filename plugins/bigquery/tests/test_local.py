"""Queries run as tasks in Python, with the installed plugin and the emulators' addresses in the environment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors import HttpClient, Phase, StructuredDataset
from connectors.local import RunOptions, TaskFailed, TaskTimedOut
from connectors_bigquery import BigQueryConfig, BigQueryTask
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery
from plugins.bigquery.tests.test_on_emulators import SLOW
from tests.local.terminal import interrupted_while_running

pytestmark = pytest.mark.anyio
CONFIG = BigQueryConfig(project="example-project")


@pytest.fixture
def emulator(local_bigquery_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", local_bigquery_url)
    return local_bigquery_url


@pytest.fixture
def fake(bigquery: FakeBigQuery, monkeypatch: pytest.MonkeyPatch) -> FakeBigQuery:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
    bigquery.requires_token = False
    return bigquery


def query(sql: str, *, inputs: Any = None, timeout: float | None = None) -> BigQueryTask:
    return BigQueryTask("q", sql, CONFIG, inputs=inputs, local_run=RunOptions(poll_interval=0.1, timeout=timeout))


async def fate(http: HttpClient, url: str, meta: dict[str, Any]) -> dict[str, Any]:
    """The job's status, as the emulator tells anybody."""
    address = f"{url}/bigquery/v2/projects/{meta['project']}/jobs/{meta['job_id']}"
    answer = await http.request("GET", address, params={"location": meta["location"]})
    status: dict[str, Any] = answer.json()["status"]
    return status


async def test_a_query_returns_its_table(emulator: str, http: HttpClient) -> None:
    table = await query("SELECT @v + 1 AS n", inputs={"v": int}).run(v=6)
    assert isinstance(table, StructuredDataset)
    project, name = table.uri.removeprefix("bq://").split(":")
    rows = "{}/bigquery/v2/projects/{}/datasets/{}/tables/{}/data".format(emulator, project, *name.split("."))
    assert (await http.request("GET", rows)).json()["rows"] == [{"f": [{"v": "7"}]}]


async def test_a_query_that_fails_raises_bigquery_s_words(emulator: str) -> None:
    with pytest.raises(TaskFailed, match="no_such_dataset was not found") as raised:
        await query("SELECT * FROM no_such_dataset.t").run()
    assert raised.value.outcome.phase is Phase.FAILED


async def test_a_retryable_failure_ends_the_run(fake: FakeBigQuery) -> None:
    error = {"reason": "backendError", "message": "try again"}
    fake.new_job = {"status": {"state": "DONE", "errorResult": error, "errors": [error]}}
    outcome = await query("SELECT 1").outcome()
    assert (outcome.phase, fake.count("insert"), fake.count("cancel")) == (Phase.RETRYABLE_FAILED, 1, 0)


async def test_a_query_that_takes_too_long_is_stopped(emulator: str, http: HttpClient) -> None:
    with pytest.raises(TaskTimedOut) as raised:
        await query(SLOW, timeout=1.0).run()
    meta = json.loads(raised.value.outcome.meta)
    status = await fate(http, emulator, meta)
    assert status["state"] == "DONE"
    assert status["errorResult"]["reason"] == "stopped"


async def test_ctrl_c_stops_the_query(emulator: str, http: HttpClient) -> None:
    meta = await interrupted_while_running(f"""
from connectors_bigquery import *
task = BigQueryTask("q", {SLOW!r}, BigQueryConfig(project="example-project"), local_run=local_run)
""")
    assert (await fate(http, emulator, dict(meta)))["errorResult"]["reason"] == "stopped"
