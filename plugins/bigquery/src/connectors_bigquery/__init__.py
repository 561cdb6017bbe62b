"""The BigQuery connector: it runs a task's SQL as a BigQuery query job.

It speaks BigQuery's REST API over the server's pooled HTTP client and reads no rows: a task's output is the address of
the table that the job wrote.
"""

from connectors_bigquery.connector import BigQueryConnector, BigQueryJob
from connectors_bigquery.settings import BigQuerySettings
from connectors_bigquery.task import BigQueryTask
from connectors_bigquery.task_config import BigQueryConfig

__all__ = ["BigQueryConfig", "BigQueryConnector", "BigQueryJob", "BigQuerySettings", "BigQueryTask"]
