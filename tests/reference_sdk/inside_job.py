"""Runs in an SDK's environment, where a job on Databricks would run: calls the task's function as the SDK's own command
does, with what the job's arguments say. There is no Spark here, and no Flyte: flytekit makes no session for a job that
is told that it is serverless, and a worker of Flyte 2's that belongs to a cluster asks no backend for anything.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

sys.path += json.loads(os.environ["BEHIND"])
sys.path.insert(0, str(Path(__file__).parent))

from tests.reference_sdk.stand_ins import stand_in_for

command, *arguments = sys.argv[1:]
stand_in_for("pyspark", "snowflake")  # before flytekit loads its plugins
match command:
    case "pyflyte-execute":
        os.environ["DATABRICKS_SERVERLESS"] = "true"
        importlib.import_module("flytekit.bin.entrypoint").execute_task_cmd(arguments)
    case "a0":
        whose = {f"FLYTE_INTERNAL_EXECUTION_{name}": "example" for name in ("PROJECT", "DOMAIN")}
        os.environ.update(whose, _U_ORG_NAME="example", FLYTE_CLUSTERED_WORKER="1", _U_RUN_BASE=os.environ["PREFIX"])
        importlib.import_module("flyte._bin.runtime").main(arguments)
    case _:
        raise AssertionError(sys.argv)
