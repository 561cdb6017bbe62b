"""Runs in the environment of Flyte 2's SDK and its BigQuery and Databricks plugins: their classes of metas read ours,
and write their own.

Its argument is an object of JSON: ``read`` has texts of metas by plugin, ``write`` the fields of one.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))  # it is run as a file
from tests.reference_sdk.stand_ins import stand_in_for

stand_in_for("aiohttp", "pyspark")

# Imported by name: the project's environment has none of these.
KINDS = {
    "bigquery": importlib.import_module("flyteplugins.bigquery.connector").BigQueryMetadata,
    "databricks": importlib.import_module("flyteplugins.databricks.connector").DatabricksJobMetadata,
}


def read(kind: Any, text: str) -> Any:
    """Its fields, or the name of the error."""
    try:
        return asdict(kind.decode(text.encode()))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return type(error).__name__


asked = json.loads(sys.argv[1])
answers = {
    "read": {name: [read(KINDS[name], text) for text in texts] for name, texts in asked["read"].items()},
    "written": {name: KINDS[name](**fields).encode().decode() for name, fields in asked["write"].items()},
}
sys.stdout.write(f"RESULT {json.dumps(answers)}\n")
