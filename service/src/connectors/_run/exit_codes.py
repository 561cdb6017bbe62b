"""What the commands end with. Scripts go by these numbers: they stay as they are."""

from __future__ import annotations

import enum

from connectors.local import Outcome
from connectors.models import Phase

__all__ = ["ExitCode", "code_of"]


class ExitCode(enum.IntEnum):
    """Where other commands have a number for the same, it is theirs: 75 is EX_TEMPFAIL of sysexits.h, 124 that of
    ``timeout``, and a signal is 128 and its number.
    """

    SUCCEEDED = 0
    FAILED = 1
    MISTAKE = 2
    """In the command, the file, an input or a setting. Nothing was run."""
    NOT_RUN = 3
    """An error that is no phase: the connector, the platform or the server refused a call or could not be reached, a
    secret is not set, no connector has the task type, or a job succeeded with outputs that the task does not declare.
    Whether a job was made the message says, where there may be one."""
    ABORTED = 4
    RETRYABLE_FAILED = 75
    TIMED_OUT = 124
    INTERRUPTED = 130
    TERMINATED = 143


_OF_PHASE = {
    Phase.SUCCEEDED: ExitCode.SUCCEEDED,
    Phase.ABORTED: ExitCode.ABORTED,
    Phase.RETRYABLE_FAILED: ExitCode.RETRYABLE_FAILED,
}


def code_of(outcome: Outcome) -> ExitCode:
    """The code of a run that has ended."""
    return ExitCode.TIMED_OUT if outcome.timed_out else _OF_PHASE.get(outcome.phase, ExitCode.FAILED)
