"""Runs in the environment of flytekit and its plugins: their own task classes, unchanged but for the mixin.

Its arguments are what to run, and the address of a server, or "" for this process. The variable ``BEHIND`` is where the
project's packages are: behind flytekit's own, so that flytekit runs with what it asks for.
"""

from __future__ import annotations

import json
import os
import sys

sys.path += json.loads(os.environ["BEHIND"])

from typing import Any

from connectors.local import AsyncConnectorExecutorMixin, RunOptions, TaskFailed, ThroughServer
from tests.reference_sdk.inside import bigquery, flytekit, openai, snowflake, webhook

what, address = sys.argv[1:]
CONFIG = bigquery.BigQueryConfig("example-project", "US")
options: dict[str, Any] = {"poll_interval": 0.1}
if address:
    options["via"] = lambda: ThroughServer.at(address)


class LocalQuery(AsyncConnectorExecutorMixin, bigquery.BigQueryTask):  # type: ignore[misc,name-defined]  # without types here
    local_run = RunOptions(**options)


class LocalStatement(AsyncConnectorExecutorMixin, snowflake.SnowflakeTask):  # type: ignore[misc,name-defined]  # as above
    local_run = RunOptions(**options)


class LocalBatch(AsyncConnectorExecutorMixin, openai.BatchEndpointTask):  # type: ignore[misc,name-defined]  # as above
    local_run = RunOptions(**options)


class LocalCall(AsyncConnectorExecutorMixin, webhook.WebhookTask):  # type: ignore[misc,name-defined]  # as above
    local_run = RunOptions(**options)


class LocalChat(AsyncConnectorExecutorMixin, openai.ChatGPTTask):  # type: ignore[misc,name-defined]  # as above
    local_run = RunOptions(**options)


def query(statement: str, **inputs: type) -> Any:
    return LocalQuery(
        name="query",
        inputs=inputs,
        output_structured_dataset_type=flytekit.StructuredDataset,
        query_template=statement,
        task_config=CONFIG,
    )


numbers = query("SELECT @v + 1 AS n, @names[OFFSET(0)] AS name", v=int, names=list[str])
chat = LocalChat(name="chat", chatgpt_config={"model": "gpt-4o"})


def workflow_of_both(v):  # type: ignore[no-untyped-def]  # flytekit wants types, not their names: see below
    return numbers(v=v, names=["a"]), chat(message="Who is there?")


def main() -> Any:
    match what:
        case "workflow":
            table_type: Any = flytekit.StructuredDataset
            workflow_of_both.__annotations__ = {"v": int, "return": tuple[table_type, str]}
            table, answer = flytekit.workflow(workflow_of_both)(v=6)
            return {"table": table._literal_sd.uri, "answer": answer}
        case "failure":
            try:
                query("SELECT * FROM no_such_dataset.t")()
            except TaskFailed as error:
                return {"phase": error.outcome.phase.name, "message": str(error)}
        case "wrong input":
            try:
                numbers(v="seven", names=[])
            except TypeError as error:
                return {"message": str(error)}
        case "statement":
            statement = LocalStatement(
                name="load",
                inputs=flytekit.kwtypes(minimum=int),
                output_schema_type=flytekit.StructuredDataset,
                query_template="SELECT * FROM orders WHERE total > %(minimum)s",
                task_config=snowflake.SnowflakeConfig("loader", "example-main", "sales", "PUBLIC", "small"),
            )
            return statement(minimum=5)._literal_sd.uri
        case "batch":
            return LocalBatch(name="batch", config={"endpoint": "/v1/chat/completions"})(input_file_id="file-1")["id"]
        case "call":
            call = LocalCall(
                name="notify",
                url=f"{os.environ['SERVICE']}/teams/{{inputs.team}}",
                data={"text": "late"},
                dynamic_inputs={"team": str},
            )
            return call(team="a b")["status_code"]
        case slow:
            query(slow)()
    raise AssertionError("nothing was raised")


try:
    sys.stdout.write(f"RESULT {json.dumps(main())}\n")
except KeyboardInterrupt:
    sys.exit(130)
