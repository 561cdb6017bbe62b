"""The task in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.local import ConnectorTask, RunOptions

from connectors_acme.task_config import AcmeConfig

__all__ = ["AcmeTask"]


class AcmeTask(ConnectorTask):
    """A task of Acme's.

    ``task(words=["a"])`` runs it in a script and returns its result, ``await task.run(words=["a"])`` does under a
    running event loop.
    """

    def __init__(
        self,
        name: str,
        config: AcmeConfig,
        *,
        inputs: Mapping[str, Any] | None = None,
        result: Any = dict,
        local_run: RunOptions | None = None,
    ) -> None:
        """:param name: of the task, for people. :param inputs: its arguments: by name, their Python types.

        :param result: the Python type of its result. :param local_run: how its runs go.
        """
        super().__init__(
            name,
            "acme",
            inputs=inputs,
            outputs={"result": result},
            config=config,
            local_run=local_run,
        )
