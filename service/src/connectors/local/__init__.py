"""Runs a task without a backend: in this process, or through a server, as the backends would.

:class:`ConnectorTask` and :class:`AsyncConnectorExecutorMixin` are for task classes. :func:`run_task` is the run
itself; :class:`InProcess` and :class:`ThroughServer` are who answers it.

Plugins import this package for their task classes, so that importing it loads neither the engine nor the messages:
what needs them imports them when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.local._calls import Calls
from connectors.local._mixin import AsyncConnectorExecutorMixin
from connectors.local._options import RunOptions, progress_on_terminal
from connectors.local._outcome import Outcome, Progress, TaskFailed, TaskTimedOut, shown_meta
from connectors.local._run import run_task
from connectors.local._script import in_new_loop
from connectors.local._task import ConnectorTask, TaskConfig
from connectors.local._types import literal_type_of

if TYPE_CHECKING:
    from connectors.local._in_process import InProcess
    from connectors.local._through_server import ThroughServer

__all__ = [
    "AsyncConnectorExecutorMixin",
    "Calls",
    "ConnectorTask",
    "InProcess",
    "Outcome",
    "Progress",
    "RunOptions",
    "TaskConfig",
    "TaskFailed",
    "TaskTimedOut",
    "ThroughServer",
    "in_new_loop",
    "literal_type_of",
    "progress_on_terminal",
    "run_task",
    "shown_meta",
]


def __getattr__(name: str) -> Any:
    if name == "InProcess":
        from connectors.local._in_process import InProcess  # noqa: PLC0415 - see above

        return InProcess
    if name == "ThroughServer":
        from connectors.local._through_server import ThroughServer  # noqa: PLC0415 - see above

        return ThroughServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
