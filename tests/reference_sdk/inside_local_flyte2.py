"""Runs in the environment of Flyte 2's SDK and its BigQuery plugin: their own task class, unchanged but for the mixin.

Its arguments are what to run, and the address of a server, or "" for this process. The variable ``BEHIND`` is where the
project's packages are: behind the SDK's own, so that it runs with what it asks for.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from typing import Any

sys.path += json.loads(os.environ["BEHIND"])

from connectors.local import AsyncConnectorExecutorMixin, RunOptions, TaskFailed, ThroughServer

# Imported by name: the project's environment has none of these.
flyte = importlib.import_module("flyte")
DataFrame = importlib.import_module("flyte.io").DataFrame
bigquery = importlib.import_module("flyteplugins.bigquery")

what, address = sys.argv[1:]
CONFIG = bigquery.BigQueryConfig("example-project", "US")
options: dict[str, Any] = {"poll_interval": 0.1}
if address:
    options["via"] = lambda: ThroughServer.at(address, protocol="flyte2")


class LocalQuery(AsyncConnectorExecutorMixin, bigquery.BigQueryTask):  # type: ignore[misc,name-defined]  # without types
    local_run = RunOptions(**options)


def query(statement: str, **inputs: type) -> Any:
    return LocalQuery(
        name="query", inputs=inputs, output_dataframe_type=DataFrame, query_template=statement, plugin_config=CONFIG
    )


numbers = query("SELECT @v + 1 AS n, @names[OFFSET(0)] AS name", v=int, names=list[str])


def task_of_an_environment() -> Any:
    environment = flyte.TaskEnvironment(
        "parent", depends_on=[flyte.TaskEnvironment.from_task("bigquery_tasks", numbers)]
    )

    async def parent(v):  # type: ignore[no-untyped-def]  # the SDK wants types, not their names
        return await numbers(v=v, names=["a"])

    parent.__annotations__ = {"v": int, "return": DataFrame}
    return environment.task(parent)


def main() -> Any:
    match what:
        case "success":
            return [
                flyte.run(numbers, v=6, names=["a"]).outputs()[0].uri,
                flyte.run(task_of_an_environment(), v=6).outputs()[0].uri,
                asyncio.run(numbers.run(v=6, names=["a"])).uri,
            ]
        case "failure":
            try:
                asyncio.run(query("SELECT * FROM no_such_dataset.t").run())
            except TaskFailed as error:
                return {"phase": error.outcome.phase.name, "message": str(error)}
        case slow if slow.startswith("flyte.run "):
            flyte.run(query(slow.removeprefix("flyte.run ")))
        case slow:
            asyncio.run(query(slow).run())
    raise AssertionError("nothing was raised")


flyte.init()
try:
    sys.stdout.write(f"RESULT {json.dumps(main())}\n")
except KeyboardInterrupt:
    sys.exit(130)
