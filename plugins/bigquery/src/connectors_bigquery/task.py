"""A query as a task in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import StructuredDataset
from connectors.local import ConnectorTask, RunOptions
from connectors_bigquery.task_config import BigQueryConfig

__all__ = ["BigQueryTask"]


class BigQueryTask(ConnectorTask):
    """A query: ``task(v=7)`` runs it, and returns the table that it wrote as a :class:`connectors.StructuredDataset`.

    ``BigQueryTask("large", "SELECT @v AS v", BigQueryConfig(project="example-project"), inputs={"v": int})``
    """

    def __init__(
        self,
        name: str,
        query: str,
        config: BigQueryConfig,
        *,
        inputs: Mapping[str, Any] | None = None,
        local_run: RunOptions | None = None,
    ) -> None:
        """:param name: of the task, for people. :param query: the SQL; ``@v`` is the input ``v``. :param inputs: by
        name, the Python type of a query parameter. :param local_run: how its runs go.
        """
        super().__init__(
            name,
            "bigquery_query_job_task",
            inputs=inputs,
            outputs={"results": StructuredDataset},
            config=config,
            sql=query,
            local_run=local_run,
        )
