"""A call as a task in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.local import ConnectorTask, RunOptions
from connectors_http.task_config import WebhookConfig

__all__ = ["WebhookTask"]


class WebhookTask(ConnectorTask):
    """A call of an HTTP service: ``task(v=7)`` makes it, and returns the output ``info``; with it, by name, the outputs
    that the config takes from the answer.
    """

    def __init__(
        self,
        name: str,
        config: WebhookConfig,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        local_run: RunOptions | None = None,
    ) -> None:
        """:param name: of the task, for people. :param config: the call. :param inputs: by name, the Python type of
        what ``{inputs.name}`` stands for. :param outputs: the Python types of the config's outputs; ``Any`` for one
        that is not named. :param local_run: how its runs go.
        """
        super().__init__(
            name,
            "webhook",
            inputs=inputs,
            outputs={"info": dict, **dict.fromkeys(config.outputs, Any), **(outputs or {})},
            config=config,
            local_run=local_run,
        )
