"""Tasks of the reference SDK's own classes, run by our server: each arrives at its platform as its author meant it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from google.protobuf.json_format import MessageToDict

from connectors import Phase
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery
from plugins.databricks.tests.fake_databricks import FakeDatabricks
from plugins.http.tests.fake_service import Reply
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake
from tests.reference_sdk.callers import Backend, Ended
from tests.reference_sdk.conftest import Platforms
from tests.reference_sdk.environment import Answers

pytestmark = pytest.mark.timeout(900)  # the first test may make the environment
IMAGE = "registry.example/spark:1"
Run = Callable[..., Ended]


@pytest.fixture
def run(backend: Backend, answers: Answers) -> Run:
    def make(name: str, *, made: Callable[[], None] = lambda: None, **inputs: Any) -> Ended:
        ended = backend.run(answers.templates[name], inputs, made=made)
        assert ended.phase is Phase.SUCCEEDED, ended.message
        return ended

    return make


def struct(literal: Any) -> Any:
    """A dict, in either of the forms that it has on the wire."""
    scalar = literal.scalar
    return msgpack.unpackb(scalar.binary.value) if scalar.HasField("binary") else MessageToDict(scalar.generic)


def test_a_bigquery_task(run: Run, platforms: Platforms) -> None:
    table = {"projectId": "example-project", "datasetId": "d", "tableId": "t"}
    platforms.bigquery.new_job = {
        "status": {"state": "DONE"},
        "configuration": {"query": {"destinationTable": table}},
    }
    ended = run("bigquery", minimum=5)
    assert ended.outputs["results"].scalar.structured_dataset.uri == "bq://example-project:d.t"
    assert ended.links == ("BigQuery Console",)
    sent = platforms.bigquery.last("insert").body
    assert sent["jobReference"]["location"] == "EU"
    assert sent["configuration"]["query"] == {
        "query": "SELECT * FROM shop.orders WHERE total > @minimum",
        "useLegacySql": False,
        "maximumBytesBilled": "1000000000000",
        "parameterMode": "NAMED",
        "queryParameters": [{"name": "minimum", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "5"}}],
    }


def submitted(platforms: Platforms) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run's request, and its only task."""
    body = platforms.databricks.last("submit").body
    (task,) = body["tasks"]
    return body, task


def test_a_databricks_task_on_a_new_cluster(run: Run, platforms: Platforms) -> None:
    ended = run("classic", day="2024-01-02")
    assert "Databricks Console" in ended.links
    body, task = submitted(platforms)
    assert (body["run_name"], body["timeout_seconds"]) == ("daily", 3600)
    cluster = task["new_cluster"]
    assert (cluster["num_workers"], cluster["spark_version"]) == (2, "15.4.x")
    assert cluster["docker_image"] == {"url": IMAGE}
    assert cluster["spark_env_vars"]["A"] == "1"
    assert cluster["spark_env_vars"]["FLYTE_FAIL_ON_ERROR"] == "true"
    assert task["spark_python_task"]["python_file"] == "flytekitplugins/databricks/entrypoint.py"
    assert task["spark_python_task"]["parameters"][0] == "pyflyte-execute"


def test_a_serverless_databricks_task(run: Run, platforms: Platforms) -> None:
    run("serverless", day="2024-01-02")
    body, task = submitted(platforms)
    (environment,) = body["environments"]
    assert task["environment_key"] == environment["environment_key"] == "default"
    assert environment["spec"]["environment_vars"]["A"] == "1"
    assert "new_cluster" not in task
    assert task["spark_python_task"]["python_file"] == "flytekitplugins/databricks/entrypoint_serverless.py"


def test_a_databricks_notebook(run: Run, platforms: Platforms) -> None:
    run("notebook", day="2024-01-02")
    _, task = submitted(platforms)
    assert task["notebook_task"] == {"notebook_path": "/Shared/daily", "base_parameters": {"mode": "full"}}


def test_a_chat(run: Run, platforms: Platforms) -> None:
    ended = run("chatgpt", message="Say hello.")
    assert ended.outputs["o0"].scalar.primitive.string_value == "Hello."
    sent = platforms.openai.last("/chat/completions").body
    assert (sent["model"], sent["temperature"], sent["n"]) == ("a-model", 0.5, 1)
    assert sent["messages"] == [{"role": "user", "content": "Say hello."}]


def test_a_batch(run: Run, platforms: Platforms) -> None:
    def complete() -> None:
        for batch in platforms.openai.batches.values():
            batch["status"] = "completed"

    ended = run("openai-batch", made=complete, input_file_id="file-1")
    assert struct(ended.outputs["result"])["status"] == "completed"
    (*_, made) = platforms.openai.batches.values()
    assert (made["input_file_id"], made["endpoint"], made["completion_window"]) == (
        "file-1",
        "/v1/chat/completions",
        "24h",
    )


def test_a_snowflake_statement(run: Run, platforms: Platforms) -> None:
    def complete() -> None:
        for statement in platforms.snowflake.statements.values():
            statement.status = "SUCCESS"

    ended = run("snowflake", made=complete, minimum=5)
    (*_, statement) = platforms.snowflake.statements.values()
    assert statement.user == "EXAMPLE-MAIN.LOADER"
    assert statement.body["statement"].startswith("SELECT * FROM orders WHERE total > ")
    assert statement.body["bindings"] == {"1": {"type": "FIXED", "value": "5"}}
    assert {key: statement.body[key] for key in ("database", "schema", "warehouse")} == {
        "database": "SALES",  # the SQL API takes names as they are stored: in capitals, unless they were quoted
        "schema": "PUBLIC",
        "warehouse": "SMALL",
    }
    uri = ended.outputs["results"].scalar.structured_dataset.uri
    assert uri.endswith(f"/small/sales/PUBLIC/{statement.handle}")
    assert uri.startswith(("snowflake://loader:example-main/", "snowflake://loader/example-main/"))


def test_a_webhook_that_posts(run: Run, platforms: Platforms) -> None:
    platforms.service.will_say(Reply.of({"ok": True}, 200))
    ended = run("webhook", team="a b/c", count=3)
    sent = platforms.service.last
    assert (sent.method, sent.target) == ("POST", "/teams/a%20b%2Fc")
    assert (sent.headers["X-Source"], sent.headers["Content-Type"]) == ("flyte", "application/json")
    assert json.loads(sent.body) == {"text": "3 orders, a b/c", "count": 3}
    info = struct(ended.outputs["info"])
    assert (info["status_code"], info["response_data"], info["response_json"]) == (200, '{"ok": true}', {"ok": True})
    assert info["input_data"] == {"text": "3 orders, a b/c", "count": 3}
    assert info["url"] == f"{platforms.service.url}/teams/a%20b%2Fc"


def test_a_webhook_that_gets(run: Run, platforms: Platforms) -> None:
    ended = run("webhook-get", q="x&y")
    assert (platforms.service.last.method, platforms.service.last.target) == ("GET", "/items?q=x%26y")
    assert set(struct(ended.outputs["info"])) == {"status_code", "response_data"}


@pytest.mark.parametrize("name", ["bigquery", "classic", "snowflake"])
def test_an_aborted_task_is_cancelled_on_its_platform(
    backend: Backend, answers: Answers, platforms: Platforms, name: str
) -> None:
    platform: dict[str, FakeBigQuery | FakeDatabricks | FakeSnowflake] = {
        "bigquery": platforms.bigquery,
        "classic": platforms.databricks,
        "snowflake": platforms.snowflake,
    }
    inputs = {"day": "2024-01-02"} if name == "classic" else {"minimum": 5}
    backend.delete(answers.templates[name], inputs)
    assert platform[name].calls[-1].operation == "cancel"
