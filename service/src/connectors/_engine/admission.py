"""How many calls may be under way: per connector and in all, with a bounded queue before each connector."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple, Self

import anyio

from connectors._engine.options import EngineOptions
from connectors._engine.outcome import AdmissionRefused

__all__ = ["Admission", "LineState", "Slot"]


class Slot:
    """The right to call a connector. Released once, by leaving it as a context or by :meth:`release`; by any task."""

    def __init__(self, gates: tuple[anyio.Semaphore, ...]) -> None:
        self._gates = gates

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        gates, self._gates = self._gates, ()
        for gate in gates:
            gate.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class LineState(NamedTuple):
    """How far one connector's limit is taken."""

    taken: int
    waiting: int
    limit: int


class _Line:
    """One connector's limit and its queue."""

    def __init__(self, concurrency: int, queue: int) -> None:
        self.gate = anyio.Semaphore(concurrency)
        self.limit = concurrency
        self.queue = queue
        self.waiting = 0


class Admission:
    """The limits of one engine."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._all = anyio.Semaphore(options.concurrency)
        self._lines: dict[str, _Line] = {}

    def state(self, task_type: str) -> LineState:
        """How far the limit of one task type is taken now."""
        line = self._lines.get(task_type)
        if line is None:
            return LineState(0, 0, self._options.limits_for(task_type).concurrency)
        return LineState(line.limit - line.gate.value, line.waiting, line.limit)

    async def enter(self, task_type: str, *, until: float) -> Slot:
        """Wait for a slot.

        :param until: an instant on the event loop's clock, after which waiting is over.
        :raises AdmissionRefused: the queue is full, or no slot came free in time.
        """
        line = self._lines.get(task_type)
        if line is None:
            limits = self._options.limits_for(task_type)
            line = self._lines[task_type] = _Line(limits.concurrency, limits.queue)
        gates = (line.gate, self._all)
        if line.waiting == 0 and _acquire_now(gates):
            return Slot(gates)
        if line.waiting >= line.queue:
            raise AdmissionRefused(f"{line.waiting} calls to {task_type} wait already; try again later")
        line.waiting += 1
        try:
            with anyio.CancelScope(deadline=until):
                await _acquire(gates)
                return Slot(gates)
        finally:
            line.waiting -= 1
        raise AdmissionRefused(f"no call to {task_type} could be started in time: all are taken; try again later")


def _acquire_now(gates: tuple[anyio.Semaphore, ...]) -> bool:
    if any(gate.value == 0 for gate in gates):
        return False
    for gate in gates:
        gate.acquire_nowait()
    return True


async def _acquire(gates: tuple[anyio.Semaphore, ...]) -> None:
    async with AsyncExitStack() as held:
        for gate in gates:
            await gate.acquire()
            held.callback(gate.release)
        held.pop_all()
