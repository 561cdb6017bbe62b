"""A statement as a task in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import StructuredDataset
from connectors.local import ConnectorTask, RunOptions
from connectors_snowflake.task_config import SnowflakeConfig

__all__ = ["SnowflakeTask"]


class SnowflakeTask(ConnectorTask):
    """A statement: ``task(v=7)`` runs it, and returns the address of its result as a
    :class:`connectors.StructuredDataset`.
    """

    def __init__(
        self,
        name: str,
        query: str,
        config: SnowflakeConfig,
        *,
        inputs: Mapping[str, Any] | None = None,
        returns_rows: bool = True,
        local_run: RunOptions | None = None,
    ) -> None:
        """:param name: of the task, for people. :param query: the SQL; ``%(v)s`` is the input ``v``. :param inputs: by
        name, the Python type of a binding. :param returns_rows: whether the statement has a result to hand on.
        :param local_run: how its runs go.
        """
        super().__init__(
            name,
            "snowflake",
            inputs=inputs,
            outputs={"results": StructuredDataset} if returns_rows else {},
            config=config,
            sql=query,
            local_run=local_run,
        )
