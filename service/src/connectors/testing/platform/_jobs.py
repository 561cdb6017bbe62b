"""The platform's jobs: what was submitted, and every state that a job was in."""

from __future__ import annotations

import enum
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

__all__ = ["Job", "JobState", "Jobs", "Submission"]


class JobState(enum.StrEnum):
    """What a job is in. PREEMPTED is a failure that another try may not meet."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"

    @property
    def is_over(self) -> bool:
        """Whether it is the job's last."""
        return self not in _LIVE


_LIVE = frozenset({JobState.PENDING, JobState.RUNNING, JobState.CANCELLING})


@dataclass(frozen=True)
class Submission:
    """What a job is made from. Times are in seconds."""

    key: str = ""
    """The caller's idempotency key; jobs are counted by it, whatever ``dedupe`` says."""
    dedupe: Literal["none", "same", "conflict"] = "none"
    """What a second submission under a key gets: another job, the first job, or the first job as an HTTP 409."""
    task: str = ""
    """What the job is a run of: no two jobs of one task should run at once."""
    labels: Mapping[str, str] = field(default_factory=dict)
    pending: float = 0.0
    """How long it waits before it runs."""
    duration: float | None = 0.0
    """How long it runs; None: until it is cancelled, or ended by :meth:`Jobs.end`."""
    outcome: JobState = JobState.SUCCEEDED
    """How it ends by itself."""
    output_prefix: str = ""
    """Where its results are written; "": they come back inline."""

    @classmethod
    def from_json(cls, body: Any) -> Submission:
        """What a request's body says.

        :raises ValueError: it is no submission.
        """
        if not isinstance(body, Mapping) or body.keys() - cls.__dataclass_fields__.keys():
            raise ValueError("the body of a submission is an object of the members of Submission")
        made = cls(**{**body, "outcome": JobState(body.get("outcome", JobState.SUCCEEDED))})
        if not made.outcome.is_over:
            raise ValueError(f"a job cannot end as {made.outcome}")
        if made.dedupe not in ("none", "same", "conflict"):
            raise ValueError("dedupe is none, same or conflict")
        return made


@dataclass(frozen=True)
class Job:
    """A job as it stood when it was asked for. Times are seconds since the platform was started."""

    id: str
    key: str
    task: str
    labels: Mapping[str, str]
    created: datetime
    """By the wall clock, less what :meth:`Jobs.age` took off."""
    states: tuple[tuple[JobState, float], ...]
    """Each state that it was in, and since when; in order."""
    submissions: int
    """How many submissions led to it: 1, and one more for each that was recognised as a repeat."""
    cancelled_at: float | None
    """When it was first asked to be cancelled."""
    output_prefix: str

    @property
    def state(self) -> JobState:
        """The last of its states."""
        return self.states[-1][0]

    @property
    def is_live(self) -> bool:
        """Whether it is not over yet."""
        return not self.state.is_over

    @property
    def occupied(self) -> tuple[float, float]:
        """From when to when it was of use to somebody: to its end, or to when its cancellation was asked for."""
        end = math.inf if self.is_live else self.states[-1][1]
        return self.states[0][1], end if self.cancelled_at is None else min(end, self.cancelled_at)

    def as_json(self) -> dict[str, Any]:
        """As the platform shows it to its callers."""
        done = self.state is JobState.SUCCEEDED
        return {
            "id": self.id,
            "key": self.key,
            "task": self.task,
            "labels": dict(self.labels),
            "created": self.created.isoformat(),
            "state": self.state.value,
            "result": self.id if done and not self.output_prefix else None,
            "written_to": self.output_prefix if done and self.output_prefix else None,
        }

    def history(self) -> dict[str, Any]:
        """As ``GET /_jobs`` shows it."""
        return self.as_json() | {
            "states": [[state.value, since] for state, since in self.states],
            "submissions": self.submissions,
            "cancelled_at": self.cancelled_at,
        }


@dataclass
class _Row:
    id: str
    of: Submission
    at: float
    created: datetime
    submissions: int = 1
    cancelled_at: float | None = None
    ended: tuple[JobState, float] | None = None
    """An end from outside."""


class Jobs:
    """All jobs of a platform, in the order in which they were made."""

    def __init__(self, clock: Callable[[], float], *, cancel_takes: float = 0.0) -> None:
        """:param clock: seconds. :param cancel_takes: for how many of them a cancelled job is CANCELLING."""
        self._clock = clock
        self._cancel_takes = cancel_takes
        self._rows: dict[str, _Row] = {}
        self._by_key: defaultdict[str, list[_Row]] = defaultdict(list)
        self._made = 0

    def submit(self, of: Submission) -> tuple[Job, bool]:
        """The job, and whether it is an earlier submission's."""
        earlier = self._by_key[of.key] if of.key else []
        if of.dedupe != "none" and earlier:
            earlier[0].submissions += 1
            return self._shown(earlier[0]), True
        self._made += 1
        row = _Row(f"job-{self._made:06d}", of, self._clock(), datetime.now(UTC))
        self._rows[row.id] = row
        self._by_key[of.key].append(row)
        return self._shown(row), False

    def get(self, job: str) -> Job | None:
        """None where there is no such job."""
        row = self._rows.get(job)
        return self._shown(row) if row is not None else None

    def cancel(self, job: str) -> Job | None:
        """End it, unless it is over; None where there is no such job."""
        row = self._rows.get(job)
        if row is None:
            return None
        if row.cancelled_at is None and self._shown(row).is_live:
            row.cancelled_at = self._clock()
        return self._shown(row)

    def end(self, job: str, state: JobState = JobState.SUCCEEDED) -> None:
        """End it now, whatever its duration.

        :raises KeyError: there is no such job. :raises ValueError: the state is not one that a job ends in.
        """
        if not state.is_over:
            raise ValueError(f"a job cannot end as {state}")
        row = self._rows[job]
        if self._shown(row).is_live:
            row.ended = state, self._clock()

    def forget(self, job: str) -> None:
        """Have it be no more, nor its key: what the platform no longer keeps.

        :raises KeyError: there is no such job.
        """
        row = self._rows.pop(job)
        self._by_key[row.of.key].remove(row)

    def age(self, seconds: float) -> None:
        """Have every job be that much older by the wall clock."""
        for row in self._rows.values():
            row.created -= timedelta(seconds=seconds)

    def all(self, *, key: str | None = None, task: str | None = None) -> tuple[Job, ...]:
        """Those of a key, or of a task; else all."""
        rows: Iterable[_Row] = self._rows.values() if key is None else self._by_key.get(key, ())
        return tuple(self._shown(row) for row in rows if task is None or row.of.task == task)

    def at_once(self) -> Counter[str]:
        """For each task: how many of its jobs ran at the same time, at the most. See :attr:`Job.occupied`."""
        moments: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        for row in self._rows.values():
            start, end = self._shown(row).occupied
            moments[row.of.task] += [(start, 1), (end, -1)] if start < end else []
        most: Counter[str] = Counter()
        for task, changes in moments.items():
            running, most[task] = 0, 1
            for _, change in sorted(changes):  # at one instant, an end comes before a start
                running += change
                most[task] = max(most[task], running)
        return most

    def _shown(self, row: _Row) -> Job:
        now = self._clock()
        states = [(JobState.PENDING, row.at)] if row.of.pending > 0 else []
        starts = row.at + row.of.pending
        states.append((JobState.RUNNING, starts))
        ends = [row.ended] if row.ended is not None else []
        if row.of.duration is not None:
            ends.append((row.of.outcome, starts + row.of.duration))
        if row.cancelled_at is not None:
            cancelled = row.cancelled_at + self._cancel_takes
            ends.append((JobState.CANCELLED, cancelled))
            if self._cancel_takes > 0:
                states.append((JobState.CANCELLING, row.cancelled_at))
        first = min(ends, key=lambda end: end[1], default=None)
        if first is not None:
            states = [*(state for state in states if state[1] < first[1] or state[1] == row.at), first]
        states.sort(key=lambda state: state[1])
        return Job(
            id=row.id,
            key=row.of.key,
            task=row.of.task,
            labels=row.of.labels,
            created=row.created,
            states=tuple(state for state in states if state[1] <= now),
            submissions=row.submissions,
            cancelled_at=row.cancelled_at,
            output_prefix=row.of.output_prefix,
        )
