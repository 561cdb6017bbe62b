"""How late the event loop is, and whose code held it.

One process serves all calls on one event loop: a connector that computes, or waits, in an ``async def`` stops every
other call for that long. A timer on the loop tells how late it runs. Beside it a thread looks, while the timer is late,
at which task runs and where in its code: afterwards nobody could say.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from types import FrameType
from typing import NamedTuple

__all__ = ["LoopProbe"]

log = logging.getLogger("connectors.server")

_EVERY = 0.25  # seconds between two readings
_BLOCKED = 0.5
"""Seconds. A loop that is later than this is reported: the garbage collector, and a busy machine, take less."""
_LOOK_AFTER = 0.2  # seconds of lag from which on the thread looks
_LOOK_EVERY = 0.1  # seconds
_QUIET = 10.0  # seconds in which one warning is enough for one place
_MOST_NAMED = 10


class _Sight(NamedTuple):
    """What was seen to run."""

    late: float
    """The instant when the reading was due that is late."""
    task: str
    place: str


class LoopProbe:
    """Reads the lag of the event loop that it is started on. Use it as an asynchronous context."""

    def __init__(
        self,
        *,
        lagged: Callable[[float], None],
        blocked: Callable[[str], None],
        task_types: Mapping[str, str],
        in_flight: Callable[[], Iterable[str]],
    ) -> None:
        """:param lagged: told the seconds of each reading. :param blocked: told the task type of the connector whose
        code held the loop, "unknown" where it was not seen, or was no connector's.

        :param task_types: of the connectors' calls, by the names of asyncio's tasks that make them.
        :param in_flight: the task types whose calls are under way.
        """
        self._lagged = lagged
        self._blocked = blocked
        self._task_types = task_types
        self._in_flight = in_flight
        self._expected = 0.0
        self._sight: _Sight | None = None
        self._told: dict[str, float] = {}
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread_of_loop = 0
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Read from now on. Called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread_of_loop = threading.get_ident()
        self._schedule()
        threading.Thread(target=self._watch, name="connectors-loop-probe", daemon=True).start()

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._expected = monotonic() + _EVERY
        self._timer = self._loop.call_later(_EVERY, self._read)

    def _read(self) -> None:
        lag = max(0.0, monotonic() - self._expected)
        sight, self._sight = self._sight, None
        if sight is not None and sight.late != self._expected:
            sight = None  # it came too late for the reading before
        self._schedule()
        self._lagged(lag)
        if lag >= _BLOCKED:
            task_type = self._task_types.get(sight.task, "unknown") if sight else "unknown"
            self._blocked(task_type)
            self._warn(lag, task_type, sight)

    def _warn(self, lag: float, task_type: str, sight: _Sight | None) -> None:
        place = sight.place if sight else ""
        now = monotonic()
        if now - self._told.get(place, -_QUIET) < _QUIET:
            return
        self._told = {known: at for known, at in self._told.items() if now - at < _QUIET} | {place: now}
        fields: dict[str, object] = {"event": "event_loop_blocked", "seconds": round(lag, 3)}
        if sight is not None:
            fields |= {"task": sight.task, "at": sight.place}
        if task_type != "unknown":
            fields["task_type"] = task_type
            text = "the connector of %s held the event loop for %.2g s: what blocks belongs in a plain def"
            log.warning(text, task_type, lag, extra={"fields": fields})
            return
        under_way = sorted(set(self._in_flight()))
        fields["task_types"] = under_way[:_MOST_NAMED]
        named = ", ".join(under_way[:_MOST_NAMED]) or "none"
        log.warning("the event loop stood still for %.2g s; calls under way: %s", lag, named, extra={"fields": fields})

    # --- in the thread

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_EVERY):
            late = self._expected
            if monotonic() - late >= _LOOK_AFTER and ((sight := self._sight) is None or sight.late != late):
                self._sight = self._look(late)

    def _look(self, late: float) -> _Sight | None:
        try:
            task = asyncio.current_task(self._loop)
            frame = sys._current_frames().get(self._thread_of_loop)  # there is no other way to see what it does
            return _Sight(late, "" if task is None else task.get_name(), "" if frame is None else _place(frame))
        except RuntimeError:  # the task went on while it was looked at
            return None


def _place(frame: FrameType) -> str:
    """The innermost line that runs: ``module.function:line``."""
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}:{frame.f_lineno}"
