"""What every connector must do, of this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from connectors import HttpClient, TaskTemplate, Unavailable
from connectors.testing.contract import AsyncCase, AsyncConnectorContract, json_members
from connectors.testing.faults import FaultProxy, Route
from connectors_bigquery import BigQueryConnector, BigQueryJob, BigQuerySettings
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery

Query = Callable[..., TaskTemplate]
JOBS = "/bigquery/v2/projects/[^/]+/jobs"
METAS = [
    BigQueryJob("j", "p", "EU"),
    BigQueryJob("j", "p", None),
    BigQueryJob("j", "p", "EU", "Flytekit/1 (GPN:Union;production)"),
    BigQueryJob("j", "p", "EU", secret_name="team-key", secret_reference="project:sales"),
]
OLDER_METAS = {
    b'{"job_id": "j", "project": "p", "location": "EU"}': BigQueryJob("j", "p", "EU"),  # flytekit's
    b'{"job_id": "j", "project": "p", "location": null}': BigQueryJob("j", "p", None),
    # flyte-sdk's
    b'{"job_id": "j", "project": "p", "location": "EU", "user_agent": "a"}': BigQueryJob("j", "p", "EU", "a"),
}


def error_body(status: int) -> bytes:
    details = [{"message": "scripted", "domain": "global", "reason": ""}]
    return json.dumps({"error": {"code": status, "message": "scripted: asked for", "errors": details}}).encode()


def case_of(task: TaskTemplate, **more: Any) -> AsyncCase:
    given: dict[str, Any] = {
        "task": task,
        "creates": Route("POST", JOBS),
        "gets": Route("GET", f"{JOBS}/[^/]+"),
        "cancels": Route("POST", f"{JOBS}/[^/]+/cancel"),
        "unknown": BigQueryJob("j", "p", "EU"),
        "metas": METAS,
        "older_metas": OLDER_METAS,
        "unknown_state": json_members(state="HIBERNATING"),
        # a 409 is looked into, and there is no such job
        "errors": {"create": {409: Unavailable}},
        "error_body": error_body,
        "hostile_metas": lambda address: [
            BigQueryJob("../../../other", "p", "EU"),
            BigQueryJob("", "p", "EU"),
            BigQueryJob("j" * 1025, "p", "EU"),
            BigQueryJob("j?x=1", "p", "EU"),
            BigQueryJob("j", "p/jobs", "EU"),
            BigQueryJob("j", "../p", "EU"),
            BigQueryJob("j", f"@{address}/p", "EU"),
            BigQueryJob("j", "", "EU"),
            BigQueryJob("j", "p", "EU&x=1"),
            BigQueryJob("j", "p", "EU", "agent\r\nX-Evil: 1"),
        ],
        "hostile_tasks": lambda address: [
            replace(task, custom={**task.custom, "ProjectID": f"@{address}/"}),
            replace(task, custom={**task.custom, "Location": "EU&x=1"}),
        ],
    }
    return AsyncCase(**{**given, **more})


class TestContract(AsyncConnectorContract):
    @pytest.fixture
    def backend(self, bigquery: FakeBigQuery) -> str:
        return bigquery.url

    @pytest.fixture
    def case(
        self, proxy: FaultProxy, bigquery: FakeBigQuery, query: Query, secret: Mapping[str, str], private_key: str
    ) -> AsyncCase:
        settings = BigQuerySettings(endpoint=proxy.url)
        return case_of(
            query(),
            build=lambda: BigQueryConnector(settings, token_url=f"{proxy.url}/token"),
            secrets=secret,
            secret_values=private_key.splitlines()[1:-1],
            jobs=lambda key: sum(job == key for _, _, job in bigquery.jobs),
        )


class TestContractOnAnEmulator(AsyncConnectorContract):
    @pytest.fixture
    def backend(self, crucible_url: str) -> str:
        return crucible_url

    @pytest.fixture
    def case(
        self, proxy: FaultProxy, http: HttpClient, query: Query, monkeypatch: pytest.MonkeyPatch, crucible_url: str
    ) -> AsyncCase:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)

        async def jobs(key: str) -> int:
            # the key is the id, so that there is one or none; what each job wrote is counted in `test_on_emulators`
            answer = await http.request("GET", f"{crucible_url}/bigquery/v2/projects/example-project/jobs/{key}")
            return int(answer.status == 200)

        return case_of(query(), build=BigQueryConnector, jobs=jobs)
