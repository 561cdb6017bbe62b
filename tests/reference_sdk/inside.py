"""Runs in the environment of flytekit and its plugins, not in the project's: their own classes write tasks and metas,
and read ours.

It takes an object of JSON at its standard input, and writes another one to the file that its argument names (flytekit
prints its warnings); bytes are Base64 in both. Spark and Snowflake's driver are not installed: the plugins import them,
and what is asked of the plugins here does not need them.
"""

from __future__ import annotations

import importlib
import json
import sys
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))  # it is also run as a file
from tests.reference_sdk.stand_ins import stand_in_for

stand_in_for("pyspark", "snowflake")

# Imported by name: the stand-ins come first, and the project's environment has none of these.
flytekit = importlib.import_module("flytekit")
configuration = importlib.import_module("flytekit.configuration")
translator = importlib.import_module("flytekit.tools.translator")
webhook = importlib.import_module("flytekit.extras.webhook")
bigquery = importlib.import_module("flytekitplugins.bigquery")
google_bigquery = importlib.import_module("google.cloud.bigquery")
openai = importlib.import_module("flytekitplugins.openai")
snowflake = importlib.import_module("flytekitplugins.snowflake")
spark = importlib.import_module("flytekitplugins.spark.task")

IMAGE = "registry.example/spark:1"
CLUSTER = {"run_name": "daily", "timeout_seconds": 3600, "new_cluster": {"num_workers": 2, "spark_version": "15.4.x"}}
SERVERLESS = {"run_name": "daily", "environment_key": "default"}
METAS = {
    "bigquery": ("flytekitplugins.bigquery.connector", "BigQueryMetadata"),
    "databricks": ("flytekitplugins.spark.connector", "DatabricksJobMetadata"),
    "openai-batch": ("flytekitplugins.openai.batch.connector", "BatchEndpointMetadata"),
    "snowflake": ("flytekitplugins.snowflake.connector", "SnowflakeJobMetadata"),
}


def daily(day: str) -> int:
    """What a Spark task would run."""
    return len(day)


def tasks(places: Mapping[str, str]) -> dict[str, Any]:
    """One of each of the plugins' task classes."""
    host = places["databricks"]

    notebook_of = {"notebook_path": "/Shared/daily", "notebook_base_parameters": {"mode": "full"}}

    def of_spark(config: Any) -> Any:
        return spark.PysparkFunctionTask(config, daily, container_image=IMAGE)

    return {
        "bigquery": bigquery.BigQueryTask(
            name="large_orders",
            inputs=flytekit.kwtypes(minimum=int),
            output_structured_dataset_type=flytekit.StructuredDataset,
            query_template="SELECT * FROM shop.orders WHERE total > @minimum",
            task_config=bigquery.BigQueryConfig(
                "example-project", "EU", google_bigquery.QueryJobConfig(maximum_bytes_billed=10**12)
            ),
        ),
        "classic": of_spark(spark.DatabricksV2(databricks_conf=CLUSTER, databricks_instance=host)),
        "serverless": of_spark(spark.DatabricksV2(databricks_conf=SERVERLESS, databricks_instance=host)),
        "notebook": of_spark(spark.DatabricksV2(databricks_conf=CLUSTER, databricks_instance=host, **notebook_of)),
        "spark": of_spark(spark.Databricks(databricks_conf=CLUSTER, databricks_instance=host)),
        "chatgpt": openai.ChatGPTTask(name="chat", chatgpt_config={"model": "a-model", "temperature": 0.5, "n": 1}),
        "openai-batch": openai.BatchEndpointTask(name="batch", config={"endpoint": "/v1/chat/completions"}),
        "snowflake": snowflake.SnowflakeTask(
            name="load",
            inputs=flytekit.kwtypes(minimum=int),
            output_schema_type=flytekit.StructuredDataset,
            query_template="SELECT * FROM orders WHERE total > %(minimum)s",
            task_config=snowflake.SnowflakeConfig("loader", "example-main", "sales", "PUBLIC", "small"),
        ),
        "webhook": webhook.WebhookTask(
            name="notify",
            url=f"{places['webhook']}/teams/{{inputs.team}}",
            headers={"X-Source": "flyte"},
            data={"text": "{inputs.count} orders, {inputs.team}", "count": "{inputs.count}"},
            dynamic_inputs={"team": str, "count": int},
            show_data=True,
            show_url=True,
        ),
        "webhook-get": webhook.WebhookTask(
            name="look_up",
            url=f"{places['webhook']}/items",
            method="GET",
            data={"q": "{inputs.q}"},
            dynamic_inputs={"q": str},
            timeout=5,
        ),
    }


def templates(places: Mapping[str, str]) -> dict[str, str]:
    """The tasks as a registration would send them: by name, each a ``TaskTemplate``."""
    settings = configuration.SerializationSettings(
        image_config=configuration.ImageConfig.auto(img_name=IMAGE),
        project="sales",
        domain="production",
        version="v1",
        env={"A": "1"},
    )
    found = {}
    for name, each in tasks(places).items():
        template = translator.get_serializable(OrderedDict(), settings, each).template
        found[name] = b64encode(template.to_flyte_idl().SerializeToString()).decode()
    return found


def written(metas: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The plugins' metas with these fields, as they are sent."""
    return {name: b64encode(_kind(name)(**fields).encode()).decode() for name, fields in metas.items()}


def read(metas: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """What the plugins make of these metas: their fields, or the name of the error."""
    return {name: [_fields(_kind(name), b64decode(each)) for each in several] for name, several in metas.items()}


def _fields(kind: Any, data: bytes) -> Any:
    try:
        return asdict(kind.decode(data))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return f"{type(error).__name__}: {error}"


def _kind(name: str) -> Any:
    module, kind = METAS[name]
    return getattr(importlib.import_module(module), kind)


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answers = {"templates": templates(asked["places"]), "written": written(asked["write"]), "read": read(asked["read"])}
    Path(sys.argv[1]).write_text(json.dumps(answers), "utf-8")
