"""The Databricks connector: runs tasks as Databricks job runs."""
