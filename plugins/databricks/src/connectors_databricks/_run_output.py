"""What a run's tasks wrote, and why they failed: ``runs/get-output``, task by task.

https://docs.databricks.com/api/workspace/jobs/getrunoutput: Databricks keeps the last 5 MB of what a Python task
wrote, and what a notebook handed back; of other kinds of tasks it may keep nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Literal

from connectors import ConnectorError, InvalidRequest, LogLine, LogPage, NotFound
from connectors_databricks._rest import RunsApi, part
from connectors_databricks._states import tasks_of

__all__ = ["error_in", "log_page"]

_USUAL_LINES = 1_000
_TOKEN = re.compile(r"([0-9]{1,6}):([0-9]{1,9})")
_LONGEST_ERROR = 2_000  # characters
_FAILED = frozenset({"FAILED", "TIMEDOUT"})
_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # a notebook's trace is coloured for a terminal


async def error_in(api: RunsApi, run: Mapping[str, Any], *, patience: float) -> str:
    """The error of the first task that failed, in its own words; "" where there is none, or none is to be had.

    :param patience: seconds that it may take.
    """
    for task in tasks_of(run):
        if part(task, "state").get("result_state") in _FAILED:
            try:
                async with asyncio.timeout(patience):
                    output = await api.output(str(task.get("run_id")))
            except (ConnectorError, TimeoutError):
                return ""  # that it failed is known: this would only have said why
            return _COLOUR.sub("", str(output.get("error") or ""))[:_LONGEST_ERROR]
    return ""


async def log_page(api: RunsApi, run: Mapping[str, Any], *, lines: int, token: str) -> LogPage:
    """A page of the logs of the run's tasks, one after the other.

    :param lines: how many at most; 0 for 1,000. :param token: of the page before, "" for the first.
    :raises InvalidRequest: the token is none. :raises ConnectorError: as Databricks says.
    """
    tasks, most = tasks_of(run), lines or _USUAL_LINES
    index, offset = _place(token)
    found: list[LogLine] = []
    while index < len(tasks) and len(found) < most:
        written = await _lines_of(api, tasks[index], heading=len(tasks) > 1)
        taken = written[offset : offset + most - len(found)]
        found += taken
        offset += len(taken)
        if offset < len(written):
            break
        index, offset = index + 1, 0
    return LogPage(tuple(found), f"{index}:{offset}" if index < len(tasks) else "")


def _place(token: str) -> tuple[int, int]:
    """The task, and its line, that a page begins with."""
    if not token:
        return 0, 0
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidRequest(f"{token[:80]!r} is no token of a page of logs")
    return int(match[1]), int(match[2])


async def _lines_of(api: RunsApi, task: Mapping[str, Any], *, heading: bool) -> list[LogLine]:
    """What one task wrote, and its error; nothing where it has not begun, or is of a kind that keeps nothing."""
    try:
        output = await api.output(str(task.get("run_id")))
    except (NotFound, InvalidRequest):
        return []
    found: list[LogLine] = []
    if output.get("logs_truncated"):
        found.append(LogLine("(the beginning is cut off: Databricks keeps the last 5 MB)", originator="SYSTEM"))
    found += _split(output.get("logs"), "USER")
    found += _split(part(output, "notebook_output").get("result"), "USER")
    found += _split(output.get("error"), "SYSTEM")
    found += _split(output.get("error_trace"), "SYSTEM")
    if found and heading:
        found.insert(0, LogLine(f"--- {task.get('task_key')} ---", originator="SYSTEM"))
    return found


def _split(text: Any, originator: Literal["USER", "SYSTEM"]) -> list[LogLine]:
    if not isinstance(text, str) or not text:
        return []
    lines = _LINE_BREAK.split(_COLOUR.sub("", text))
    if not lines[-1]:
        lines.pop()  # the last line was ended: there is none behind it
    return [LogLine(line, originator=originator) for line in lines]
