"""What a run tells: its progress while it lasts, and how it ended."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from connectors.models import Phase, TaskLog

__all__ = ["Outcome", "Progress", "TaskFailed", "TaskTimedOut", "shown_meta"]


@dataclass(frozen=True)
class Progress:
    """Where a run stands. One comes whenever something changed, and with each poll."""

    stage: Literal["creating", "running", "deleting", "deleted", "none", "left"]
    """``deleting`` and what follows come where the run is broken off. ``none``: its create failed, and no job is
    known; the message says whether there may be one. ``left``: the job could not be deleted, or nobody waited for it,
    and it may go on."""
    elapsed: float
    """Seconds since the run began."""
    phase: Phase = Phase.UNDEFINED
    """UNDEFINED until the first poll."""
    message: str = ""
    log_links: tuple[TaskLog, ...] = ()
    custom_info: Mapping[str, Any] | None = None
    meta: bytes = b""
    """What finds the job again; b"" while there is none."""
    fault: str = ""
    """Why the platform, or the server, could not be asked for the job by the last poll; "" where it could. All else is
    then as it was known before."""
    unknown_states: tuple[str, ...] = ()
    """States of the platform's that the connector does not know, each of which it took for RUNNING; of the whole run. A
    server tells them to its own log alone."""

    @property
    def state(self) -> str:
        """The phase's name, for a person: CREATED until one is known."""
        return "CREATED" if self.phase is Phase.UNDEFINED else self.phase.name

    @property
    def said(self) -> str:
        """The message, for a person; while the job cannot be asked for, why that is."""
        if self.stage == "running" and self.fault:
            return f"the job cannot be asked for: {self.fault}"
        return self.message

    def as_outcome(self) -> Outcome:
        """What is known of a run that ended here."""
        return Outcome(
            self.phase,
            self.message,
            {},
            elapsed=self.elapsed,
            meta=self.meta,
            log_links=self.log_links,
            custom_info=self.custom_info,
            job_left=self.stage == "left",
            fault=self.fault,
        )


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    phase: Phase
    """A terminal one. Of a run that took too long: the last one that was seen."""
    message: str
    outputs: Mapping[str, Any]
    """Native values by name; empty where the task did not succeed, or has none."""
    elapsed: float
    """Seconds."""
    meta: bytes = b""
    """What finds the job again; b"" of a sync connector's call."""
    log_links: tuple[TaskLog, ...] = ()
    custom_info: Mapping[str, Any] | None = None
    timed_out: bool = False
    """Whether it took longer than it was given; its job was then deleted."""
    job_left: bool = False
    """Whether that job could not be deleted, and may go on."""
    fault: str = ""
    """Of a run that took too long: why its job could not be created, or not be asked for by the last poll; "" where it
    could."""

    @property
    def succeeded(self) -> bool:
        """Whether the task did what it was to do, in time."""
        return self.phase is Phase.SUCCEEDED and not self.timed_out

    @property
    def value(self) -> Any:
        """The outputs as a call returns them: None for none, the value of a single one, else all by name."""
        if len(self.outputs) == 1:
            return next(iter(self.outputs.values()))
        return dict(self.outputs) or None

    @property
    def trouble(self) -> str:
        """The fault, for a person; "" where there was none."""
        if not self.fault:
            return ""
        what = "at last its job could not be asked for" if self.meta else "its job could not be created"
        return f"{what}: {self.fault}"


class TaskFailed(Exception):
    """The task ended, and did not succeed. ``outcome`` says how."""

    def __init__(self, outcome: Outcome, task: str = "") -> None:
        """:param task: its name, "" where it has none."""
        text = f"{_named(task)} ended in {outcome.phase.name} after {outcome.elapsed:.1f} s"
        if outcome.message:
            text += f": {outcome.message}"
        super().__init__(f"{text} (its job: {shown_meta(outcome.meta)})" if outcome.meta else text)
        self.outcome = outcome


class TaskTimedOut(TaskFailed, TimeoutError):
    """The task took longer than it was given. Its job was deleted, unless ``outcome.job_left`` says otherwise."""

    def __init__(self, outcome: Outcome, task: str = "") -> None:
        """:param task: as above."""
        super().__init__(outcome, task)
        text = f"{_named(task)} did not end within {outcome.elapsed:.1f} s"
        if outcome.job_left:
            fate = f"its job may still run: {shown_meta(outcome.meta) if outcome.meta else 'its create is under way'}"
        else:
            fate = "its job was deleted" if outcome.meta else ""
        self.args = ("; ".join(filter(None, (text, outcome.trouble, fate))),)


def _named(task: str) -> str:
    return f"the task {task}" if task else "the task"


def shown_meta(meta: bytes) -> str:
    """A resource meta as text: JSON as it stands, other bytes in base64. No meta holds a secret."""
    try:
        text = meta.decode()
    except UnicodeDecodeError:
        return b64encode(meta).decode()
    return text if text.isprintable() else b64encode(meta).decode()
