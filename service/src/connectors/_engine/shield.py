"""GetTask's last known phases.

The backend counts failed polls over a task's whole life and gives it up at the sixth, so a poll is never answered with
an error for a fault that may pass: it is answered with what was known last. A task is never taken back from a terminal
phase.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from connectors._engine.outcome import AdmissionRefused, status_of
from connectors.errors import ConnectorError
from connectors.models import Phase, Resource, TaskCategory

__all__ = ["Shield", "StandingFaults"]

_REMEMBERED = 16_384
_REMEMBERED_BYTES = 64 * 1024 * 1024
_STANDS_FOR = 600.0
"""Seconds. A job that is not polled any more has no fault that stands: nobody can say that it would meet one."""

_Job = tuple[TaskCategory, bytes]  # the meta's hash: a caller may send long ones


@dataclass
class _Known:
    phase: Phase = Phase.RUNNING
    terminal: Resource | None = None
    is_final: bool = False
    size: int = 0
    fault_since: float | None = None
    platform_fault_since: float | None = None
    faults: int = 0


class StandingFaults(NamedTuple):
    """The faults that polls of one task type meet now."""

    jobs: int
    age: float
    """Seconds since the oldest of them began."""


class Shield:
    """What is known of the jobs that were polled last; beyond 16,384 jobs or 64 MiB of results, the longest unasked is
    forgotten first.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[_Job, _Known] = OrderedDict()
        self._size = 0
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
            self._end(known, resource, size)
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
            before = found.get(job[0].name, StandingFaults(0, 0.0))
            found[job[0].name] = StandingFaults(before.jobs + 1, max(before.age, now - known.fault_since))
        return found

    def end(self, category: TaskCategory, meta: bytes, resource: Resource) -> Resource:
        """The job ended by this service's doing: whatever the platform says of it later, this is the answer, unless
        another terminal phase is the answer already. Returns the one that stands.
        """
        known = self._of(category, meta)
        if known.terminal is None:
            known.phase = resource.phase
            self._end(known, resource, 0)
        known.is_final = True
        return known.terminal or resource

    def terminal(self, category: TaskCategory, meta: bytes) -> Resource | None:
        """The job's end, where it is known."""
        known = self._known.get(_job(category, meta))
        return None if known is None else known.terminal

    def forget(self, category: TaskCategory, meta: bytes) -> None:
        """Nothing is known of this job any more."""
        known = self._known.pop(_job(category, meta), None)
        if known is not None:
            self._faulty.pop(_job(category, meta), None)
            self._size -= known.size

    def _end(self, known: _Known, resource: Resource, size: int) -> None:
        self._size += size - known.size
        known.terminal, known.size = resource, size
        self._forget_what_is_too_much()

    def _of(self, category: TaskCategory, meta: bytes) -> _Known:
        job = _job(category, meta)
        known = self._known.get(job)
        if known is None:
            known = self._known[job] = _Known()
            self._forget_what_is_too_much()
        else:
            self._known.move_to_end(job)
        return known

    def _forget_what_is_too_much(self) -> None:
        while len(self._known) > _REMEMBERED or (self._size > _REMEMBERED_BYTES and len(self._known) > 1):
            job, known = self._known.popitem(last=False)
            self._size -= known.size
            self._faulty.pop(job, None)


def _job(category: TaskCategory, meta: bytes) -> _Job:
    return category, hashlib.sha256(meta).digest()
