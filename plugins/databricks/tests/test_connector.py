"""The connector against a Databricks that does what no emulator does."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from connectors import (
    ConnectorError,
    InvalidRequest,
    KeyTaken,
    LogLine,
    NotFound,
    PermissionDenied,
    Phase,
    RateLimited,
    TaskLog,
    Unauthenticated,
    Unavailable,
)
from connectors.testing.contexts import NewContext
from connectors_databricks import DatabricksConnector, DatabricksRun, DatabricksSettings, SparkConnector
from plugins.databricks.tests.conftest import Task
from plugins.databricks.tests.fake_databricks import TERMINATED, FakeDatabricks, Fault

pytestmark = pytest.mark.anyio
FAILED = {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "Workload failed"}
RUNNING = {"life_cycle_state": "RUNNING", "state_message": "In run"}


# --- create


async def test_a_create_is_one_request(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    key = str(uuid4())
    job = await connector.create(task(), new_context(key))
    assert [call.operation for call in databricks.calls] == ["submit"]
    sent = databricks.last("submit")
    assert sent.path == "/api/2.1/jobs/runs/submit"
    assert sent.body["idempotency_token"] == key
    assert sent.headers["User-Agent"].startswith("connectors-databricks/")
    assert job == DatabricksRun(databricks.place, str(databricks.tokens[key]))


async def test_the_version_of_the_api_is_a_setting(
    databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    connector = DatabricksConnector(DatabricksSettings(instances=(databricks.url,), api_version="2.2"))
    await connector.get(await connector.create(task(), new_context()), new_context())
    assert [call.path for call in databricks.calls] == ["/api/2.2/jobs/runs/submit", "/api/2.2/jobs/runs/get"]


async def test_a_task_that_names_its_workspace_runs_there(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    job = await connector.create(task(databricksInstance=databricks.place), new_context())
    assert job.databricks_instance == databricks.place


async def test_a_young_run_of_the_key_is_adopted_and_an_old_one_is_not(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    key = str(uuid4())
    databricks.clock = lambda: time.time() - 1_000
    first = await connector.create(task(), new_context(key))
    assert await connector.create(task(), new_context(key, adopt_within=2_000.0)) == first
    with pytest.raises(KeyTaken, match="an earlier run's"):
        await connector.create(task(), new_context(key, adopt_within=500.0))
    assert databricks.runs_under(key) == 1


async def test_the_next_try_of_a_create_adopts_no_earlier_run_either(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    key = str(uuid4())
    databricks.clock = lambda: time.time() - 1_000
    first = await connector.create(task(), new_context(key))
    context = new_context(key, adopt_within=500.0)
    context.adopt_undated()  # the first try got no answer to its question for the run's age
    with pytest.raises(KeyTaken, match="an earlier run's"):
        await connector.create(task(), context)
    databricks.faults["get"].append(Fault(503))
    assert await connector.create(task(), context) == first


async def test_a_run_that_does_not_show_its_start_yet_is_no_earlier_runs(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.clock = lambda: 0.0  # Databricks' word for an instant that is not there
    with pytest.raises(Unavailable, match="does not show its age yet"):
        await connector.create(task(), new_context(adopt_within=500.0))


@pytest.mark.parametrize("fault", [Fault(400, "INVALID_PARAMETER_VALUE"), Fault(403), Fault(404), Fault(503)])
async def test_a_run_whose_age_is_not_shown_is_no_proof_that_there_is_none(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, fault: Fault
) -> None:
    databricks.faults["get"].append(fault)
    with pytest.raises(Unavailable) as unknown:
        await connector.create(task(), new_context(adopt_within=60.0))
    assert not unknown.value.proves_no_job


@pytest.mark.parametrize(
    "fault",
    [
        None,  # the fake's own words
        Fault(400, "INVALID_PARAMETER_VALUE", "The run of this idempotency_token was deleted"),
        Fault(404, "RESOURCE_DOES_NOT_EXIST", "Run 12 does not exist."),
    ],
)
async def test_the_key_of_a_deleted_run_is_taken(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, fault: Fault | None
) -> None:
    key = str(uuid4())
    await connector.create(task(), new_context(key))
    databricks.runs.clear()
    if fault is not None:
        databricks.faults["submit"].append(fault)
    with pytest.raises(KeyTaken, match="was deleted"):
        await connector.create(task(), new_context(key))


async def test_another_bad_parameter_is_the_tasks_fault(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    message = "Cannot run the job: Cluster 0101-abc does not exist"
    databricks.faults["submit"].append(Fault(400, "INVALID_PARAMETER_VALUE", message))
    with pytest.raises(InvalidRequest, match="Cluster 0101-abc does not exist") as refused:
        await connector.create(task(), new_context())
    assert refused.value.proves_no_job


@pytest.mark.parametrize("body", [b"{}", b'{"run_id": "7"}', b'{"run_id": true}', b'{"run_id": null}'])
async def test_an_answer_without_a_run_is_no_proof_that_there_is_none(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, body: bytes
) -> None:
    databricks.faults["submit"].append(Fault(200, body=body))
    with pytest.raises(Unavailable) as unknown:
        await connector.create(task(), new_context())
    assert not unknown.value.proves_no_job


# --- errors


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(400, "INVALID_PARAMETER_VALUE", "Run 7 does not exist."), NotFound),
        (Fault(400, "INVALID_PARAMETER_VALUE", "Run: 7 in job: 3 doesn't exist"), NotFound),
        (Fault(400, "RESOURCE_DOES_NOT_EXIST"), NotFound),
        (Fault(400, "INVALID_PARAMETER_VALUE", "run_id is not a number"), InvalidRequest),
        (Fault(400, "REQUEST_LIMIT_EXCEEDED"), RateLimited),
        (Fault(429, "RESOURCE_EXHAUSTED"), RateLimited),
        (Fault(503, "TEMPORARILY_UNAVAILABLE"), Unavailable),
        (Fault(409, "ABORTED"), Unavailable),
        (Fault(403, "PERMISSION_DENIED"), PermissionDenied),
        (Fault(403, "", "Invalid access token."), Unauthenticated),
        (Fault(302, headers={"Location": "https://evil.example/login"}), Unavailable),
    ],
)
async def test_an_error_is_what_its_code_says(
    connector: DatabricksConnector, databricks: FakeDatabricks, new_context: NewContext, fault: Fault, kind: type
) -> None:
    databricks.faults["get"].append(fault)
    with pytest.raises(ConnectorError) as raised:
        await connector.get(DatabricksRun(databricks.place, "7"), new_context())
    assert type(raised.value) is kind


async def test_a_limits_pause_is_handed_on_whatever_the_status(
    connector: DatabricksConnector, databricks: FakeDatabricks, new_context: NewContext
) -> None:
    databricks.faults["get"].append(Fault(400, "REQUEST_LIMIT_EXCEEDED", headers={"Retry-After": "7"}))
    with pytest.raises(RateLimited) as limited:
        await connector.get(DatabricksRun(databricks.place, "7"), new_context())
    assert limited.value.retry_after == 7


# --- get


async def test_a_run_is_shown_with_its_links_and_its_facts(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.new_run = {"state": RUNNING, "cluster_instance": {"cluster_id": "0101-abc"}}
    job = await connector.create(task(), new_context())
    shown = await connector.get(job, new_context())
    assert (shown.phase, shown.message, shown.outputs) == (Phase.RUNNING, "In run", None)
    page = f"https://example.cloud.databricks.com/?o=1#job/77/run/{job.run_id}"
    assert shown.log_links == (
        TaskLog(uri=f"https://{databricks.place}/#job/77/run/{job.run_id}", name="Databricks Console"),
        TaskLog(uri=page, name="Databricks Run"),
    )
    assert shown.custom_info is not None
    assert shown.custom_info["cluster_id"] == "0101-abc"
    assert shown.custom_info["run_page_url"] == page
    assert databricks.count("get-output") == 0


async def test_a_failed_run_that_is_being_repaired_runs(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    history = [{"type": "ORIGINAL", "state": FAILED}, {"type": "REPAIR", "state": RUNNING}]
    databricks.new_run = {"state": FAILED, "repair_history": history}
    job = await connector.create(task(), new_context())
    assert (await connector.get(job, new_context())).phase is Phase.RUNNING


async def test_a_failed_run_says_why_in_its_tasks_own_words(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.new_run = {"state": FAILED}
    job = await connector.create(task(), new_context())
    databricks.outputs[int(job.run_id) + 500] = {"error": "NameError: name 'x' is not defined", "error_trace": "…"}
    shown = await connector.get(job, new_context())
    assert shown.phase is Phase.FAILED
    assert shown.message == "Workload failed: NameError: name 'x' is not defined"


async def test_a_failed_run_without_an_output_has_failed_all_the_same(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.new_run = {"state": FAILED}
    job = await connector.create(task(), new_context())
    databricks.faults["get-output"].append(Fault(503))
    shown = await connector.get(job, new_context())
    assert (shown.phase, shown.message) == (Phase.FAILED, "Workload failed")


async def test_a_failed_run_has_failed_however_long_its_output_takes(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.new_run = {"state": FAILED}
    job = await connector.create(task(), new_context())
    databricks.output_answers.clear()
    async with asyncio.timeout(1.8):
        shown = await connector.get(job, new_context(seconds=2.0))
    assert (shown.phase, shown.message) == (Phase.FAILED, "Workload failed")


async def test_which_ends_may_be_run_again_is_a_setting(
    databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    connector = DatabricksConnector(DatabricksSettings(instances=(databricks.url,), retryable=("FAILED",)))
    databricks.new_run = {"state": FAILED}
    job = await connector.create(task(), new_context())
    assert (await connector.get(job, new_context())).phase is Phase.RETRYABLE_FAILED


# --- delete


async def test_a_delete_cancels_the_run(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.new_run = {"state": RUNNING}
    job = await connector.create(task(), new_context())
    await connector.delete(job, new_context())
    assert databricks.last("cancel").body == {"run_id": int(job.run_id)}
    assert (await connector.get(job, new_context())).phase is Phase.FAILED


# --- get_logs


def two_tasks() -> dict[str, Any]:
    return {
        "tasks": [
            {"task_key": "a", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/a"}},
            {"task_key": "b", "existing_cluster_id": "c"},
        ]
    }


async def test_the_log_is_what_the_task_wrote(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    job = await connector.create(task(), new_context())
    databricks.outputs[int(job.run_id) + 500] = {"logs": "one\r\n\ntwo\n", "logs_truncated": False}
    page = await connector.get_logs(job, new_context(), lines=0, token="")
    assert [line.message for line in page.lines] == ["one", "", "two"]
    assert {line.originator for line in page.lines} == {"USER"}
    assert page.token == ""


async def test_a_failed_tasks_log_ends_with_the_error_and_its_trace(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    job = await connector.create(task(), new_context())
    databricks.outputs[int(job.run_id) + 500] = {
        "logs": "one",
        "logs_truncated": True,
        "error": "ValueError: no",
        "error_trace": "\x1b[0;31mTraceback\x1b[0m\n  line 1",
    }
    page = await connector.get_logs(job, new_context(), lines=0, token="")
    assert page.lines == (
        LogLine("(the beginning is cut off: Databricks keeps the last 5 MB)", originator="SYSTEM"),
        LogLine("one", originator="USER"),
        LogLine("ValueError: no", originator="SYSTEM"),
        LogLine("Traceback", originator="SYSTEM"),
        LogLine("  line 1", originator="SYSTEM"),
    )


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 100])
async def test_pages_of_any_size_hold_every_line_once(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, lines: int
) -> None:
    job = await connector.create(task(two_tasks()), new_context())
    databricks.outputs[int(job.run_id) + 500] = {"notebook_output": {"result": "one\ntwo"}}
    databricks.outputs[int(job.run_id) + 501] = {"logs": "three\n"}
    found, token = [], ""
    for _ in range(20):
        page = await connector.get_logs(job, new_context(), lines=lines, token=token)
        assert len(page.lines) <= lines
        found += [line.message for line in page.lines]
        token = page.token
        if not token:
            break
    assert found == ["--- a ---", "one", "two", "--- b ---", "three"]


async def test_a_task_that_has_written_nothing_has_no_lines(
    connector: DatabricksConnector, task: Task, new_context: NewContext
) -> None:
    job = await connector.create(task(), new_context())
    page = await connector.get_logs(job, new_context(), lines=0, token="")
    assert (page.lines, page.token) == ((), "")


@pytest.mark.parametrize("token", ["x", "1", "1:", "-1:0", "1:2:3"])
async def test_a_token_that_is_none_is_refused(
    connector: DatabricksConnector, task: Task, new_context: NewContext, token: str
) -> None:
    job = await connector.create(task(), new_context())
    with pytest.raises(InvalidRequest, match="no token of a page"):
        await connector.get_logs(job, new_context(), lines=0, token=token)


# --- the Spark plugin's tasks


@pytest.mark.parametrize("wanted", [False, True])
async def test_the_spark_task_type_is_served_by_setting_alone(wanted: bool) -> None:
    settings = DatabricksSettings(spark=True) if wanted else DatabricksSettings()
    assert SparkConnector(settings).is_wanted is wanted
    assert DatabricksConnector(settings).is_wanted


async def test_the_spark_task_type_runs_as_well(
    databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    connector = SparkConnector(DatabricksSettings(instances=(databricks.url,), spark=True))
    job = await connector.create(task(), new_context())
    assert connector.task_type == "spark"
    assert (await connector.get(job, new_context())).phase is Phase.SUCCEEDED
    assert databricks.runs[int(job.run_id)]["state"] == TERMINATED
