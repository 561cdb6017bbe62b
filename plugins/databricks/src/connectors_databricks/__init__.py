"""The Databricks connector: it runs a task as a Databricks job run.

It speaks the Jobs API over the server's pooled HTTP client, and takes from the Databricks SDK how to sign in. A task's
outputs are what its own code writes.
"""

from connectors_databricks.connector import DatabricksConnector, DatabricksRun, SparkConnector, connectors
from connectors_databricks.settings import DatabricksSettings
from connectors_databricks.task import DatabricksTask
from connectors_databricks.task_config import DatabricksConfig

__all__ = [
    "DatabricksConfig",
    "DatabricksConnector",
    "DatabricksRun",
    "DatabricksSettings",
    "DatabricksTask",
    "SparkConnector",
    "connectors",
]
