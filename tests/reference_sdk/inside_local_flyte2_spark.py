"""Runs in the environment of Flyte 2's SDK and its Databricks plugin: a function task of theirs with the mixin, whose
job is on Databricks. It is the program that runs the task, and, imported by the SDK, the module of the function in its
job.

Its argument is the address of a server, or "" for this process; the variables are those of ``inside_local_spark.py``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path

sys.path += json.loads(os.environ["BEHIND"])

from typing import Any

from connectors.local import AsyncConnectorExecutorMixin, RunOptions, ThroughServer
from tests.reference_sdk.stand_ins import stand_in_for

stand_in_for("pyspark")

# Imported by name: the project's environment has none of these.
flyte = importlib.import_module("flyte")
databricks = importlib.import_module("flyteplugins.databricks.task")
registry = importlib.import_module("flyte._task_plugins").TaskPluginRegistry


class LocalDatabricks(AsyncConnectorExecutorMixin, databricks.DatabricksFunctionTask):  # type: ignore[misc,name-defined]  # without types
    async def pre(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Makes no Spark session, for want of a Spark."""
        return {}

    async def post(self, return_vals: Any) -> Any:
        return return_vals


registry.register(databricks.Databricks, LocalDatabricks)
environment = flyte.TaskEnvironment(
    "spark",
    plugin_config=databricks.Databricks(
        databricks_conf=json.loads(os.environ["CONF"]), databricks_instance=os.environ["INSTANCE"]
    ),
    image=flyte.Image.from_base("registry.example/spark:1"),
)


def on_databricks(function):  # type: ignore[no-untyped-def]  # the SDK wants types, not their names
    function.__annotations__ = {"v": int, "return": str}
    return environment.task(function)


@on_databricks
def twice(v):  # type: ignore[no-untyped-def]  # as above
    return f"{2 * v} by {os.environ.get('DATABRICKS_RUNTIME_VERSION', 'nobody')}"


def main(address: str) -> Any:
    options: dict[str, Any] = {"via": lambda: ThroughServer.at(address, protocol="flyte2")} if address else {}
    twice.local_run = RunOptions(os.environ["PREFIX"], poll_interval=0.1, **options)
    return [asyncio.run(twice.run(v=7)), flyte.run(twice, v=7).outputs()[0]]


if __name__ == "__main__":
    flyte.init(root_dir=Path(__file__).parent)
    sys.stdout.write(f"RESULT {json.dumps(main(sys.argv[1]))}\n")
