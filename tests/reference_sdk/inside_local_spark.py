"""Runs in the environment of flytekit and its plugins: a Spark function task of theirs with the mixin, whose job is on
Databricks. It is the program that runs the task, and, imported by flytekit, the module of the function in its job.

Its arguments are the name of the config's class, and the address of a server, or "" for this process. The variables
``BEHIND`` (as in ``inside_local.py``), ``CONF``, ``INSTANCE`` and ``PREFIX`` are where the task's job runs.
"""

from __future__ import annotations

import json
import os
import sys

sys.path += json.loads(os.environ["BEHIND"])

from typing import Any

from connectors import InvalidRequest
from connectors.local import AsyncConnectorExecutorMixin, RunOptions, ThroughServer
from tests.reference_sdk.inside import spark


class LocalSpark(AsyncConnectorExecutorMixin, spark.PysparkFunctionTask):  # type: ignore[misc,name-defined]  # without types here
    pass


def on_databricks(function):  # type: ignore[no-untyped-def]  # flytekit wants types, not their names
    function.__annotations__ = {"v": int, "return": str}
    kind = getattr(spark, sys.argv[1] if __name__ == "__main__" else "DatabricksV2")
    config = kind(databricks_conf=json.loads(os.environ["CONF"]), databricks_instance=os.environ["INSTANCE"])
    return LocalSpark(config, function, container_image="registry.example/spark:1")


@on_databricks
def twice(v):  # type: ignore[no-untyped-def]  # as above
    return f"{2 * v} by {os.environ.get('DATABRICKS_RUNTIME_VERSION', 'nobody')}"


def main(address: str) -> Any:
    if address == "no prefix":
        try:
            twice(v=7)
        except InvalidRequest as error:
            return str(error)
    options: dict[str, Any] = {"via": lambda: ThroughServer.at(address)} if address else {}
    twice.local_run = RunOptions(os.environ["PREFIX"], poll_interval=0.1, **options)
    return twice(v=7)


if __name__ == "__main__":
    sys.stdout.write(f"RESULT {json.dumps(main(sys.argv[2]))}\n")
