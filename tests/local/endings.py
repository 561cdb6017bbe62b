"""The ways in which a local run ends, the same for every plugin's tasks: in this process, and for Ctrl-C as a program
on a terminal of its own.

A plugin's tests have a table of them (:class:`Run`), and assert of each what became of its job on the platform.
"""

from __future__ import annotations

import asyncio
import base64
import enum
import pickle
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors import ConnectorError, Phase
from connectors.local import ConnectorTask, Outcome
from tests.local.terminal import CTRL_C, on_terminal

__all__ = ["Ending", "Run", "run_to_its_end"]

_WITHIN = 60.0  # seconds for a run that does not end as it should


class Ending(enum.Enum):
    """How a run ends."""

    SUCCESS = "success"
    FAILURE = "failure"
    RETRYABLE = "retryable failure"
    TIMEOUT = "timeout"
    CTRL_C = "Ctrl-C"


@dataclass(frozen=True)
class Run:
    """A run, and what the platform says of its job afterwards."""

    ending: Ending
    task: ConnectorTask
    fate: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    given: Any = None
    """What a plugin's test does to its platform before."""

    def __str__(self) -> str:
        return self.ending.value


async def run_to_its_end(
    run: Run, *, variables: Mapping[str, str], begun: Callable[[], Awaitable[None]] | None = None
) -> bytes:
    """Run the task, see to it that it ends as it should, and return its job's meta, b"" where there is none. A sync
    connector's call may also end in an error that says whether it is worth another try.

    :param variables: of a program; those of this process are the caller's affair. :param begun: when Ctrl-C is typed;
        by default once the job is seen to run.
    """
    if run.ending is Ending.CTRL_C:
        return await _interrupted(run, variables, begun)
    ended = await _ended(run)
    assert _ending_of(ended) is run.ending, ended
    if isinstance(ended, ConnectorError):
        return b""
    assert not ended.job_left
    return ended.meta


async def _ended(run: Run) -> Outcome | ConnectorError:
    try:
        async with asyncio.timeout(_WITHIN):
            return await run.task.outcome(**run.inputs)
    except ConnectorError as error:
        return error


def _ending_of(ended: Outcome | ConnectorError) -> Ending | None:
    if isinstance(ended, ConnectorError):
        return Ending.RETRYABLE if ended.retryable else Ending.FAILURE
    if ended.timed_out:
        return Ending.TIMEOUT
    of_phases = {
        Phase.SUCCEEDED: Ending.SUCCESS,
        Phase.FAILED: Ending.FAILURE,
        Phase.RETRYABLE_FAILED: Ending.RETRYABLE,
    }
    return of_phases.get(ended.phase)


_PROGRAM = """
import base64, pickle, sys
from dataclasses import replace

def say(progress):
    print(progress.stage, progress.phase.name, progress.meta.decode(), flush=True)

task, inputs = pickle.loads(base64.b64decode(sys.argv[1]))
task.local_run = replace(task.local_run, on_progress=say)
try:
    task(**inputs)
except KeyboardInterrupt:
    sys.exit(130)
"""


async def _interrupted(run: Run, variables: Mapping[str, str], begun: Callable[[], Awaitable[None]] | None) -> bytes:
    sent = base64.b64encode(pickle.dumps((run.task, dict(run.inputs)))).decode()
    async with on_terminal(_PROGRAM, sent, variables=variables) as terminal:
        await (terminal.shows("running RUNNING") if begun is None else begun())
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130, terminal.text
        if begun is None:
            await terminal.shows("deleted RUNNING")
    found = re.search(r"deleted RUNNING (\{.*\})", terminal.text)
    assert (found is None) is (begun is not None), terminal.text
    return b"" if found is None else found[1].encode()
