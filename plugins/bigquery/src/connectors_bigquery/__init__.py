"""The BigQuery connector."""
