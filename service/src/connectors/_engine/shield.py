"""GetTask's last known phases.

The backend counts failed polls over a task's whole life and gives it up at the sixth, so a poll is never answered with
an error for a fault that may pass: it is answered with what was known last. A task is never taken back from a terminal
phase.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from connectors._engine.outcome import AdmissionRefused, status_of
from connectors.errors import ConnectorError
from connectors.models import Phase, Resource, TaskCategory

__all__ = ["Shield", "StandingFaults"]

_REMEMBERED = 16_384
_LARGE, _LARGE_BYTES = 1_024, 16 * 1024 * 1024
"""Bytes, as results are written for callers; as Python's values they take up to twelve times as much. The second bounds
those that have the first or more, all together; the number of jobs bounds the others."""
_STANDS_FOR = 600.0
"""Seconds. A job that is not polled any more has no fault that stands: nobody can say that it would meet one."""

_Job = bytes  # a hash of task type, version and meta: a caller may send long ones


@dataclass(slots=True)
class _Known:
    task_type: str
    phase: Phase = Phase.RUNNING
    terminal: Resource | None = None
    is_final: bool = False
    fault_since: float | None = None
    platform_fault_since: float | None = None
    faults: int = 0


class StandingFaults(NamedTuple):
    """The faults that polls of one task type meet now."""

    jobs: int
    age: float
    """Seconds since the oldest of them began."""


class Shield:
    """What is known of the jobs that were polled last. Beyond 16,384 jobs the longest unasked is forgotten first;
    beyond 16 MiB of results of 1 KiB or more, the job that was the first of those to end.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[_Job, _Known] = OrderedDict()
        self._large: OrderedDict[_Job, int] = OrderedDict()
        """The sizes of large results."""
        self._large_bytes = 0
        self._faulty: dict[_Job, float] = {}
        """The jobs of whom a poll met a fault, and when the last such came; some of them have been answered since."""

    def answer(self, category: TaskCategory, meta: bytes, resource: Resource, *, size: int = 0) -> Resource:
        """Take note of the platform's answer, and return what the backend is told.

        :param size: the resource's, in bytes.
        """
        known = self._of(category, meta)
        known.fault_since, known.platform_fault_since, known.faults = None, None, 0
        if known.terminal is not None and (known.is_final or not resource.phase.is_terminal):
            return known.terminal
        known.phase = resource.phase
        if resource.phase.is_terminal:
            self._end(_job(category, meta), known, resource, size)
        return resource

    def hide(self, category: TaskCategory, meta: bytes, error: ConnectorError, *, now: float) -> Resource:
        """What the backend is told while the platform cannot be asked: the last known phase, RUNNING where there is
        none, with the fault and its age in ``custom_info``.

        :param now: seconds on any clock that goes on.
        """
        known = self._of(category, meta)
        known.faults += 1
        if known.fault_since is None:
            known.fault_since = now
        if known.platform_fault_since is None and not isinstance(error, AdmissionRefused):
            known.platform_fault_since = now
        if known.terminal is not None:
            return known.terminal
        self._faulty[_job(category, meta)] = now
        fault: dict[str, Any] = {
            "status": status_of(error),
            "message": error.message,
            "count": known.faults,
            "age_seconds": round(now - known.fault_since, 1),
        }
        return Resource(known.phase, message=error.message, custom_info={"fault": fault})

    def fault_age(self, category: TaskCategory, meta: bytes, *, now: float) -> float:
        """For how long, in seconds, no poll of the job has got an answer of the platform's. Polls that were over this
        server's own limits do not count.
        """
        known = self._known.get(_job(category, meta))
        return 0.0 if known is None or known.platform_fault_since is None else now - known.platform_fault_since

    def standing(self, *, now: float) -> dict[str, StandingFaults]:
        """The faults that stand, by task type: of the jobs that were polled within ten minutes, met a fault and are not
        over.
        """
        found: dict[str, StandingFaults] = {}
        for job, met_at in list(self._faulty.items()):
            known = self._known.get(job)
            if known is None or known.fault_since is None or known.terminal is not None or now - met_at > _STANDS_FOR:
                del self._faulty[job]
                continue
            before = found.get(known.task_type, StandingFaults(0, 0.0))
            found[known.task_type] = StandingFaults(before.jobs + 1, max(before.age, now - known.fault_since))
        return found

    def end(self, category: TaskCategory, meta: bytes, resource: Resource) -> Resource:
        """The job ended by this service's doing: whatever the platform says of it later, this is the answer, unless
        another terminal phase is the answer already. Returns the one that stands.
        """
        known = self._of(category, meta)
        if known.terminal is None:
            known.phase = resource.phase
            self._end(_job(category, meta), known, resource, 0)
        known.is_final = True
        return known.terminal or resource

    def terminal(self, category: TaskCategory, meta: bytes) -> Resource | None:
        """The job's end, where it is known."""
        known = self._known.get(_job(category, meta))
        return None if known is None else known.terminal

    def forget(self, category: TaskCategory, meta: bytes) -> None:
        """Nothing is known of this job any more."""
        self._forget(_job(category, meta))

    def _end(self, job: _Job, known: _Known, resource: Resource, size: int) -> None:
        known.terminal = resource
        self._large_bytes -= self._large.pop(job, 0)
        if size >= _LARGE:
            self._large[job] = size
            self._large_bytes += size
            while self._large_bytes > _LARGE_BYTES and len(self._large) > 1:
                self._forget(next(iter(self._large)))

    def _of(self, category: TaskCategory, meta: bytes) -> _Known:
        job = _job(category, meta)
        known = self._known.get(job)
        if known is None:
            known = self._known[job] = _Known(sys.intern(category.name))  # each request brings a string of its own
            if len(self._known) > _REMEMBERED:
                self._forget(next(iter(self._known)))
        else:
            self._known.move_to_end(job)
        return known

    def _forget(self, job: _Job) -> None:
        self._known.pop(job, None)
        self._faulty.pop(job, None)
        self._large_bytes -= self._large.pop(job, 0)


def _job(category: TaskCategory, meta: bytes) -> _Job:
    return hashlib.sha256(b"%s\0%d\0%s" % (category.name.encode(), category.version, meta)).digest()
