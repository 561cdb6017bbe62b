"""The Snowflake connector: it runs a task's SQL as a Snowflake statement.

It speaks Snowflake's SQL REST API over the server's pooled HTTP client and hands no rows on: a task's output is the
address of the statement's result.
"""

from connectors_snowflake.connector import SnowflakeConnector, SnowflakeJob
from connectors_snowflake.settings import SnowflakeSettings
from connectors_snowflake.task import SnowflakeTask
from connectors_snowflake.task_config import SnowflakeConfig

__all__ = ["SnowflakeConfig", "SnowflakeConnector", "SnowflakeJob", "SnowflakeSettings", "SnowflakeTask"]
