"""Log lines on standard error, through the standard library's logging: for people, or JSON for machines.

Every secret that was handed out in this process is taken out of every line, tracebacks included. A line is one line:
what callers send cannot forge another.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO

from connectors._observability.log_lines import ConsoleFormatter, JsonFormatter, LineHandler, write

if TYPE_CHECKING:
    from connectors._engine.events import CallEvent
    from connectors._registry import Registry

__all__ = [
    "DebugSwitch",
    "UnknownStateLog",
    "configure",
    "log_call",
    "log_registry",
]

_calls = logging.getLogger("connectors.calls")
_server = logging.getLogger("connectors.server")

_REMEMBERED_STATES = 1_000
_BUGS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})


def configure(kind: Literal["console", "json"], level: str, stream: TextIO | None = None) -> None:
    """Send the process's log to ``stream`` (standard error), in place of wherever it went before.

    :param level: debug, info, warning or error. Libraries are never logged below info: their detail is not ours to
    filter. The audit's lines are written at any level.
    """
    handler = LineHandler(stream or sys.stderr, JsonFormatter() if kind == "json" else ConsoleFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    _set_level(level)
    logging.getLogger("connectors.audit").setLevel(logging.INFO)
    logging.captureWarnings(True)


def _set_level(level: str) -> None:
    wanted = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(wanted, logging.INFO))
    logging.getLogger("connectors").setLevel(wanted)


class DebugSwitch:
    """Turns debug lines on in a running server, and off again."""

    def __init__(self, level: str) -> None:
        """:param level: the one that was configured; where that is debug itself, info is the other one."""
        self._levels = ("debug", level) if level != "debug" else ("info", "debug")
        self._is_on = False

    def turn(self) -> None:
        """From one to the other. The line that says so is written at either level."""
        self._is_on = not self._is_on
        level = self._levels[0 if self._is_on else 1]
        _set_level("info")
        _server.info("the log's level is %s", level, extra={"fields": {"event": "log_level", "log_level": level}})
        _set_level(level)


def log_call(event: CallEvent) -> None:
    """Write one call's line; an observer for the engine.

    Polls that tell nothing new are debug: there is one for each job every few seconds.
    """
    if event.shielded:
        level = logging.WARNING
    elif event.status == "OK":
        is_news = event.operation in ("create", "delete", "do") or (event.phase is not None and event.phase.is_terminal)
        level = logging.INFO if is_news else logging.DEBUG
    elif event.status == "CANCELLED":
        level = logging.INFO
    else:
        level = logging.ERROR if event.status in _BUGS else logging.WARNING
    if _calls.isEnabledFor(level):
        args = (event.operation, event.task_type, event.status)
        write(_calls, level, "%s %s: %s", args, _of_call(event))


def _of_call(event: CallEvent) -> dict[str, Any]:
    its, identity = event.execution, event.identity
    fields: dict[str, Any] = {
        "operation": event.operation,
        "task_type": event.task_type,
        "status": event.status,
        "seconds": round(event.seconds, 6),
        "protocol": event.protocol,
        "peer": event.peer,
        "phase": event.phase.name if event.phase else "",
        "key": event.key,
        "attempts": event.attempts,
        "repeated": event.repeated,
        "shielded": event.shielded,
        "error": event.error,
        "error_id": event.error_id,
        "detail": event.message,
        "run_as": identity.execution_identity or identity.k8s_service_account or identity.iam_role,
        "execution": f"{its.project}/{its.domain}/{its.execution}/{its.node_id}/{its.retry_attempt}" if its else "",
    }
    return {name: value for name, value in fields.items() if value or name == "seconds"}


class UnknownStateLog:
    """Warns of each state that a connector does not know, once for its task type; an observer for the engine."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def __call__(self, event: CallEvent) -> None:
        """Write what this call is the first to tell."""
        for state in event.unknown_states:
            told = event.task_type, state
            # a connector that takes free text for a state must not grow the set for ever
            if told in self._logged or len(self._logged) >= _REMEMBERED_STATES:
                continue
            self._logged.add(told)
            fields = {"event": "unknown_state", "task_type": event.task_type, "state": state}
            text = "the connector of %s does not know a state of its platform's, and takes it for RUNNING"
            _calls.warning(text, event.task_type, extra={"fields": fields})


def log_registry(registry: Registry) -> None:
    """Write what was discovered, and what could not be loaded, a line each."""
    for found in registry:
        fields = {
            "task_type": found.category.name,
            "task_type_version": found.category.version,
            "kind": found.kind,
            "plugin": found.plugin,
            "distribution": found.distribution,
            "distribution_version": found.distribution_version,
        }
        _server.info("connector %s is served", found.category, extra={"fields": fields})
    for failure in registry.failures:
        _server.error(
            "cannot be used: %s",
            failure,
            extra={"fields": {"plugin": failure.plugin, "distribution": failure.distribution}},
            # whoever develops the plugin asks for it; whoever runs the server has the reason in the line
            exc_info=failure.error if _server.isEnabledFor(logging.DEBUG) else None,
        )
