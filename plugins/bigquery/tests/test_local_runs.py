"""How a query that is run locally ends, on an emulator that others wrote, and what becomes of its job there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors import HttpClient
from connectors.local import RunOptions
from connectors.testing.faults import Fault, FaultProxy, Route
from connectors_bigquery import BigQueryConfig, BigQueryTask
from plugins.bigquery.tests.test_on_emulators import SLOW
from tests.local.endings import Ending, Run, run_to_its_end

pytestmark = pytest.mark.anyio


def query(sql: str, *, timeout: float | None = None, **inputs: type) -> BigQueryTask:
    config, options = BigQueryConfig(project="example-project"), RunOptions(timeout=timeout, poll_interval=0.1)
    return BigQueryTask("q", sql, config, inputs=inputs, local_run=options)


def interrupted(job: bytes) -> bytes:
    """What the emulator says of a job that is done, as BigQuery says it of one that an inner error ended."""
    error = {"reason": "backendError", "message": "try again"}
    changed = json.loads(job)
    if changed["status"]["state"] == "DONE":
        changed["status"] |= {"errorResult": error, "errors": [error]}
    return json.dumps(changed).encode()


LOSES_ITS_WORKER = Fault("rewrite", Route("GET", ".*/jobs/[^/]+"), rewrite=interrupted)
RUNS = [
    Run(Ending.SUCCESS, query("SELECT @v + 1 AS n", v=int), ("DONE", None), inputs={"v": 6}),
    Run(Ending.FAILURE, query("SELECT * FROM no_such_dataset.t"), ("DONE", "notFound")),
    Run(Ending.RETRYABLE, query("SELECT 1"), ("DONE", None), given=LOSES_ITS_WORKER),
    Run(Ending.TIMEOUT, query(SLOW, timeout=1.0), ("DONE", "stopped")),
    Run(Ending.CTRL_C, query(SLOW), ("DONE", "stopped")),
]


@pytest.mark.parametrize("run", RUNS, ids=str)
async def test_a_local_run_ends_and_so_does_its_job(
    run: Run, local_bigquery_url: str, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultProxy(local_bigquery_url) as proxy:
        if run.given is not None:
            proxy.set_fault(run.given)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)
        meta = json.loads(await run_to_its_end(run, variables={"BIGQUERY_EMULATOR_HOST": proxy.url}))
        inserts = proxy.seen(Route("POST", ".*/jobs"))
        cancels = proxy.seen(Route("POST", ".*/jobs/[^/]+/cancel"))
    assert len(inserts) == 1
    assert bool(cancels) is (run.ending in {Ending.TIMEOUT, Ending.CTRL_C})
    assert await fate(http, local_bigquery_url, meta) == run.fate


async def fate(http: HttpClient, url: str, meta: dict[str, Any]) -> tuple[str, str | None]:
    """The job's state and the reason of its error, as the emulator tells anybody."""
    address = f"{url}/bigquery/v2/projects/{meta['project']}/jobs/{meta['job_id']}"
    status = (await http.request("GET", address, params={"location": meta["location"]})).json()["status"]
    return status["state"], status.get("errorResult", {}).get("reason")
