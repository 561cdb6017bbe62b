"""The connector against a BigQuery that does what no emulator does. What is asked of every connector is in
``test_contract``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors import (
    ConnectorError,
    FailedPrecondition,
    InvalidRequest,
    KeyTaken,
    LiteralType,
    PermissionDenied,
    Phase,
    RateLimited,
    Secrets,
    StructuredDataset,
    TaskTemplate,
    Unauthenticated,
    Unavailable,
)
from connectors.secrets import EnvironmentSecrets, FileSecrets, RequestSecrets, SecretRules, SecretScope
from connectors.testing.contexts import NewContext
from connectors_bigquery import BigQueryConnector, BigQueryJob, BigQuerySettings
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery, Fault

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]
TABLE = {"projectId": "example-project", "datasetId": "d", "tableId": "t"}
KEY = "8d5cf6a3-0f4c-5b0e-9c39-0a2a95644d2e"


@pytest.fixture
def context(new_context: NewContext, secret: Mapping[str, str]) -> NewContext:
    """Contexts whose request brings the service account."""
    return replace(new_context, key=KEY, secrets=secret)


async def attempt(connector: BigQueryConnector, task: TaskTemplate, new: NewContext) -> BigQueryJob:
    """What the engine does: the same create, as long as its error says that it may be repeated."""
    for _ in range(3):
        try:
            return await connector.create(task, new())
        except ConnectorError as error:
            if not error.retryable:
                raise
    return await connector.create(task, new())


# --- the meta


async def test_flyte_1s_meta_has_the_references_fields_and_no_other(
    connector: BigQueryConnector, query: Query, context: NewContext
) -> None:
    job = await connector.create(query(Location="EU"), context(protocol="flyte1"))
    assert job.encode() == f'{{"job_id":"{KEY}","project":"example-project","location":"EU"}}'.encode()


async def test_flyte_2s_meta_has_the_user_agent_too(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    job = await connector.create(query(), context(protocol="flyte2"))
    assert job.user_agent == bigquery.last("insert").headers["User-Agent"]


async def test_a_null_location_is_written() -> None:
    assert BigQueryJob("j", "p", None).encode() == b'{"job_id":"j","project":"p","location":null}'


async def test_the_meta_has_the_location_that_bigquery_chose(
    connector: BigQueryConnector, query: Query, context: NewContext
) -> None:
    assert (await connector.create(query(), context())).location == "europe-west4"


# --- create: one job


async def test_a_create_is_one_request(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    task = query("SELECT @n", declared={"n": LiteralType("integer")}, priority="BATCH")
    await connector.create(task, context(inputs={"n": 1}))
    assert [call.operation for call in bigquery.calls] == ["token", "insert"]
    sent = bigquery.last("insert")
    assert sent.body["jobReference"] == {"projectId": "example-project", "jobId": KEY}
    assert sent.body["configuration"]["query"] == {
        "useLegacySql": False,
        "priority": "BATCH",
        "query": "SELECT @n",
        "parameterMode": "NAMED",
        "queryParameters": [{"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}}],
    }
    assert sent.headers["User-Agent"].startswith("Flytekit/")
    assert sent.headers["User-Agent"].endswith(" (GPN:Union;production)")
    assert sent.headers["Authorization"] == "Bearer token-1"


async def test_the_location_of_an_adopted_job_is_read_from_the_conflict(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    await connector.create(query(), context())
    await connector.create(query(), context())
    assert bigquery.last("get").query["location"] == "europe-west4"
    assert bigquery.count("dry_run") == 0


async def test_where_the_conflict_names_no_location_a_dry_run_does(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.names_location_in_conflict = False
    await connector.create(query(), context())
    assert (await connector.create(query(), context())).location == "europe-west4"
    assert bigquery.count("dry_run") == 1


async def test_where_no_dry_run_is_possible_bigquery_looks_where_it_looks_by_itself(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.home, bigquery.names_location_in_conflict = "US", False
    await connector.create(query(), context())
    bigquery.faults["dry_run"].append(Fault(400, "invalidQuery", "the table is gone"))
    assert (await connector.create(query(), context())).location == "US"


async def test_the_requests_own_location_is_used_to_adopt(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.names_location_in_conflict = False
    await connector.create(query(Location="EU"), context())
    assert (await connector.create(query(Location="EU"), context())).location == "EU"
    assert bigquery.count("dry_run") == 0


async def test_a_job_that_is_not_shown_yet_is_waited_for(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    await connector.create(query(), context())
    bigquery.faults["get"].append(Fault(404, "notFound"))
    with pytest.raises(Unavailable) as hidden:
        await connector.create(query(), context())
    assert hidden.value.retryable
    assert (await attempt(connector, query(), context)).job_id == KEY


@pytest.mark.parametrize("labels", [{}, {"connectors-key": "another"}, None])
async def test_a_job_of_the_same_id_that_is_not_ours_is_a_conflict(
    connector: BigQueryConnector,
    query: Query,
    context: NewContext,
    bigquery: FakeBigQuery,
    labels: dict[str, str] | None,
) -> None:
    reference = {"projectId": "example-project", "location": "europe-west4", "jobId": KEY}
    bigquery.jobs[tuple(reference.values())] = {  # type: ignore[index]
        "jobReference": reference,
        "configuration": {"labels": labels},
        "status": {"state": "DONE"},
    }
    with pytest.raises(KeyTaken, match="not made under this key"):
        await connector.create(query(), context())


RETENTION = 7 * 86_400.0


async def test_a_job_younger_than_the_retention_is_adopted(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.clock = lambda: time.time() - RETENTION + 60
    first = await connector.create(query(), context())
    assert await connector.create(query(), context(adopt_within=RETENTION)) == first


@pytest.mark.parametrize(
    "job", [{"statistics": {"creationTime": str(int((time.time() - RETENTION - 60) * 1000))}}, {"statistics": {}}]
)
async def test_a_job_as_old_as_the_retention_or_of_no_known_age_is_an_earlier_runs(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery, job: dict[str, Any]
) -> None:
    bigquery.new_job |= job
    await connector.create(query(), context())
    with pytest.raises(KeyTaken, match="is an earlier run's"):
        await connector.create(query(), context(adopt_within=RETENTION))
    assert len(bigquery.jobs) == 1


async def test_an_old_job_is_adopted_where_this_creates_outcome_was_unknown(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.clock = lambda: 0.0
    first = await connector.create(query(), context())
    assert await connector.create(query(), context()) == first


async def test_a_job_that_is_not_ours_is_not_adopted_for_its_youth(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    await connector.create(query(), context())
    for job in bigquery.jobs.values():
        job["configuration"]["labels"]["connectors-key"] = "another"
    with pytest.raises(KeyTaken, match="not made under this key"):
        await connector.create(query(), context(adopt_within=RETENTION))


async def test_a_failed_job_under_the_key_is_adopted_and_its_failure_reported(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.new_job = {
        "status": {"state": "DONE", "errorResult": {"reason": "invalid", "message": "division by zero"}}
    }
    await connector.create(query(), context())
    job = await connector.create(query(), context(adopt_within=RETENTION))
    result = await connector.get(job, context())
    assert (result.phase, result.message) == (Phase.FAILED, "division by zero (reason: invalid)")


# --- errors, in BigQuery's words


@pytest.mark.parametrize(
    ("fault", "kind", "retryable", "proves_no_job"),
    [
        (Fault(400, "invalidQuery"), InvalidRequest, False, True),
        (Fault(403, "accessDenied"), PermissionDenied, False, True),
        (Fault(403, "rateLimitExceeded"), RateLimited, True, True),
        (Fault(403, "quotaExceeded"), RateLimited, True, True),
        (Fault(400, "jobRateLimitExceeded"), RateLimited, True, True),
        (Fault(400, "jobBackendError"), Unavailable, True, False),
        (Fault(400, "jobInternalError"), Unavailable, True, False),
        (Fault(500, "internalError"), Unavailable, True, False),
        (Fault(503, "backendError"), Unavailable, True, False),
        (Fault(302, body=b"", headers={"Location": "https://example.com"}), Unavailable, True, False),
    ],
    ids=lambda value: f"{value.status} {value.reason}" if isinstance(value, Fault) else "",
)
async def test_each_error_of_bigquerys_is_one_of_ours(
    connector: BigQueryConnector,
    query: Query,
    context: NewContext,
    bigquery: FakeBigQuery,
    *,
    fault: Fault,
    kind: type[ConnectorError],
    retryable: bool,
    proves_no_job: bool,
) -> None:
    bigquery.faults["insert"].append(fault)
    with pytest.raises(kind) as caught:
        await connector.create(query(), context())
    assert type(caught.value) is kind
    assert (caught.value.retryable, caught.value.proves_no_job) == (retryable, proves_no_job)


async def test_the_message_is_bigquerys_own(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.faults["insert"].append(Fault(400, "invalidQuery", "Syntax error at [1:1]"))
    with pytest.raises(InvalidRequest, match=r"^BigQuery: Syntax error at \[1:1\] \(reason: invalidQuery\)$"):
        await connector.create(query(), context())


async def test_retry_after_is_handed_on(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.faults["insert"].append(Fault(403, "rateLimitExceeded", headers={"Retry-After": "7"}))
    with pytest.raises(RateLimited) as caught:
        await connector.create(query(), context())
    assert caught.value.retry_after == 7.0


async def test_an_exchange_that_hangs_before_the_deadline_may_be_repeated(
    query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    settings = BigQuerySettings(endpoint=bigquery.url, request_timeout=0.2)
    connector = BigQueryConnector(settings, token_url=f"{bigquery.url}/token")
    bigquery.faults["insert"].append(Fault(waits=True))
    with pytest.raises(Unavailable):
        await connector.create(query(), context())


# --- get


async def created(
    connector: BigQueryConnector, query: Query, new: NewContext, bigquery: FakeBigQuery, **job: Any
) -> BigQueryJob:
    bigquery.new_job = job
    return await connector.create(query(), new())


@pytest.mark.parametrize(("state", "phase"), [("PENDING", Phase.INITIALIZING), ("RUNNING", Phase.RUNNING)])
async def test_a_job_that_is_not_over_has_its_phase(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery, *, state: str, phase: Phase
) -> None:
    job = await created(connector, query, context, bigquery, status={"state": state})
    assert (await connector.get(job, context())).phase is phase


async def test_a_done_job_has_its_table_and_its_link(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    configuration = {"query": {"destinationTable": TABLE}}
    job = await created(connector, query, context, bigquery, status={"state": "DONE"}, configuration=configuration)
    result = await connector.get(job, context())
    assert result.phase is Phase.SUCCEEDED
    assert result.outputs == {"results": StructuredDataset(uri="bq://example-project:d.t")}
    assert [link.uri for link in result.log_links] == [
        f"https://console.cloud.google.com/bigquery?project=example-project&j=bq:europe-west4:{KEY}&page=queryresults"
    ]


async def test_warnings_do_not_fail_a_job(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    warned = {"state": "DONE", "errors": [{"reason": "invalid", "message": "deprecated"}]}
    job = await created(connector, query, context, bigquery, status=warned)
    assert (await connector.get(job, context())).phase is Phase.SUCCEEDED


async def test_a_get_asks_for_what_it_reads_alone(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    job = await connector.create(query(), context())
    await connector.get(job, context())
    asked = bigquery.last("get").query
    assert asked["location"] == "europe-west4"
    assert "labels,query/destinationTable" in asked["fields"]


async def test_flyte_1s_get_has_a_user_agent_without_a_domain(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    job = await connector.create(query(), context(protocol="flyte1"))
    await connector.get(job, context())
    assert bigquery.last("get").headers["User-Agent"].endswith(" (GPN:Union;)")


# --- delete


async def test_a_delete_cancels_the_job_where_it_runs(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    job = await connector.create(query(), context())
    await connector.delete(job, context())
    assert bigquery.last("cancel").query["location"] == "europe-west4"


# --- credentials


async def test_one_token_serves_every_call(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    jobs = await asyncio.gather(*(connector.create(query(), context(str(uuid4()))) for _ in range(20)))
    await asyncio.gather(*(connector.get(job, context()) for job in jobs))
    assert bigquery.count("token") == 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def aging(bigquery: FakeBigQuery, clock: Clock) -> AsyncIterator[BigQueryConnector]:
    """A connector whose tokens age by ``clock``."""
    settings = BigQuerySettings(endpoint=bigquery.url)
    connector = BigQueryConnector(settings, token_url=f"{bigquery.url}/token", clock=clock)
    yield connector
    await connector.aclose()


async def test_a_token_is_renewed_before_its_end_while_calls_go_on(
    aging: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery, clock: Clock
) -> None:
    job = await aging.create(query(), context())
    clock.now = 3600 - 224
    await aging.get(job, context())
    async with asyncio.timeout(10):
        while bigquery.last("get").headers["Authorization"] != "Bearer token-2":
            await aging.get(job, context())
    assert bigquery.count("token") == 2


async def test_a_revoked_token_is_replaced_by_the_next_attempt(
    aging: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery, clock: Clock
) -> None:
    await aging.create(query(), context(str(uuid4())))
    clock.now = 60.0
    bigquery.revoked.add("token-1")
    assert (await attempt(aging, query(), context)).job_id == KEY
    assert bigquery.count("token") == 2
    assert bigquery.count("insert") == 3


async def test_a_new_token_that_is_refused_is_told_to_the_caller(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    bigquery.revoked.add("token-1")
    with pytest.raises(Unauthenticated, match="Invalid Credentials"):
        await connector.create(query(), context())


async def test_a_secret_that_is_no_service_account_is_refused_before_any_request(
    connector: BigQueryConnector, query: Query, context: NewContext, bigquery: FakeBigQuery
) -> None:
    with pytest.raises(InvalidRequest):
        await connector.create(
            query(), context(secrets={"google_application_credentials": '{"type": "authorized_user"}'})
        )
    assert bigquery.calls == []


async def test_a_projects_secret_is_found_by_calls_that_do_not_name_the_project(
    connector: BigQueryConnector, query: Query, context: NewContext, secret: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bigquery-sales").write_text(secret["google_application_credentials"])
    rules = SecretRules(
        names=BigQueryConnector.secret_names,
        by_project={"sales": {"google_application_credentials": "bigquery-sales"}},
    )
    create, get = context(), context()
    create.secrets = Secrets([FileSecrets(tmp_path)], rules=rules, scope=SecretScope(project="sales"))
    get.secrets = Secrets([FileSecrets(tmp_path)], rules=rules)
    polled = BigQueryJob.decode((await connector.create(query(), create)).encode())
    assert polled.secret_reference == "project:sales"
    await connector.get(polled, get)
    await connector.delete(polled, get)


async def test_a_secret_that_the_task_names_is_found_by_every_call(
    connector: BigQueryConnector, query: Query, context: NewContext, secret: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "team-key").write_text(secret["google_application_credentials"])
    by_file = Secrets([FileSecrets(tmp_path)])
    create, get = context(), context()
    create.secrets = get.secrets = by_file
    job = await connector.create(query(secrets={"google_application_credentials": "team-key"}), create)
    polled = BigQueryJob.decode(job.encode())
    assert polled.secret_name == "team-key"
    await connector.get(polled, get)


@pytest.mark.parametrize("name", ["NOT_ON_THE_LIST", "no/name/of/a/secret", "absent"])
async def test_the_value_that_flyte_2_sends_is_taken_whatever_the_task_calls_it(
    connector: BigQueryConnector, query: Query, context: NewContext, secret: Mapping[str, str], name: str
) -> None:
    given = context(protocol="flyte2")
    given.secrets = Secrets([RequestSecrets(secret)], rules=SecretRules((*BigQueryConnector.secret_names, "absent")))
    job = await connector.create(query(secrets={"google_application_credentials": name}), given)
    assert (job.secret_name, job.secret_reference) == (None, None)  # the reference's meta has neither


async def test_a_secret_of_the_tasks_that_is_not_to_be_had_is_told_to_the_log(
    connector: BigQueryConnector, query: Query, context: NewContext, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FailedPrecondition, match="no Google credentials"):  # the server has none of its own here
        await connector.create(query(secrets={"google_application_credentials": "absent"}), context(secrets={}))
    assert "the secret that the task names was not found" in caplog.text


async def test_a_meta_leads_to_no_other_secret(
    connector: BigQueryConnector, context: NewContext, bigquery: FakeBigQuery
) -> None:
    given = context()
    given.secrets = Secrets([EnvironmentSecrets()], rules=SecretRules(BigQueryConnector.secret_names))
    job = BigQueryJob("j", "p", "EU", secret_name="PATH", secret_reference="kubernetes:kube-system/PATH/")
    with pytest.raises(PermissionDenied):
        await connector.get(job, given)
    assert bigquery.calls == []


async def test_an_emulator_gets_no_credentials(
    query: Query, context: NewContext, bigquery: FakeBigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
    bigquery.requires_token = False
    await BigQueryConnector().create(query(), context())
    assert "Authorization" not in bigquery.last("insert").headers
    assert bigquery.count("token") == 0
