"""A run as a task in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import Container
from connectors.local import ConnectorTask, RunOptions
from connectors_databricks.task_config import DatabricksConfig

__all__ = ["DatabricksTask"]


class DatabricksTask(ConnectorTask):
    """A run on Databricks: ``task(v=7)`` returns what its code wrote to ``outputs.pb`` under the output prefix.

    The inputs are in ``inputs.pb`` there: a task with inputs or outputs needs ``local_run`` with an ``output_prefix``
    that Databricks reaches too.
    """

    def __init__(
        self,
        name: str,
        config: DatabricksConfig,
        *,
        container: Container | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        local_run: RunOptions | None = None,
    ) -> None:
        """:param name: of the task, for people. :param container: its image is the default for a new cluster, its
        arguments are those of the entry point; they may hold ``{{.input}}``, ``{{.outputPrefix}}`` and the like.
        :param inputs: by name, a Python type. :param outputs: likewise. :param local_run: how its runs go.
        """
        super().__init__(
            name,
            "databricks",
            inputs=inputs,
            outputs=outputs,
            config=config,
            container=container,
            local_run=local_run,
        )
