"""The Snowflake connector: runs SQL over Snowflake's SQL REST API."""
