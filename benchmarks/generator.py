"""The load generator's process: it carries out the plans that :class:`benchmarks.load.Generator` hands it.

    python -m benchmarks.generator 1

The number is the core that it is kept on. Plans come in as lines of JSON, and results go out as such; it ends with its
input.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from array import array
from collections import Counter
from dataclasses import asdict
from math import ceil
from typing import Any

import uvloop

from benchmarks.http2 import OK, Connection, header_blocks
from benchmarks.load import Body, Plan, Result
from benchmarks.processes import cpu_seconds, is_waiting, resident_bytes

__all__ = ["carry_out"]

_CONNECT_WITHIN = 20.0  # seconds
_ERRORS = 1_000  # after so many no more calls are sent: there will be no result
_HELD = -1.0
"""The instant that a held call is sent with."""
_IDLE = 0.2
"""Seconds for which a server had nothing to do: it has taken all calls that were sent."""
_LEAST = 10e-6
"""Seconds of the processor that no server takes a call in."""


class _Run:
    """One plan, carried out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        self._connections: list[Connection] = []
        self._number, self._sent = plan.first, 0
        self._times = array("d")
        self._errors: Counter[str] = Counter()
        self._begun = (0.0, 0.0, 0.0)
        self._held, self._held_bytes = plan.held_calls, 0
        self._held_answered = self._held_early = 0
        self._held_errors: Counter[str] = Counter()
        self._released = asyncio.Event()
        self._skip = plan.skip
        self._ending = False
        self._idle = asyncio.Event()
        self._due: list[float] = []  # instants of an open loop's calls that wait for one before
        self._turn = 0

    async def result(self) -> Result:
        plan = self._plan
        addresses = plan.address.split(",")
        for n in range(plan.connections):
            address = addresses[n % len(addresses)]
            host, _, port = address.rpartition(":")
            blocks = header_blocks(plan.path, address, plan.timeout)
            _, made = await self._loop.create_connection(
                lambda blocks=blocks: Connection(blocks, self._answered),  # type: ignore[misc]  # mypy cannot infer it
                host,
                int(port),
            )
            self._connections.append(made)
        async with asyncio.timeout(_CONNECT_WITHIN):
            await asyncio.gather(*(each.ready for each in self._connections))
        try:
            return await self._measured()
        finally:
            for each in self._connections:
                each.close()

    async def _measured(self) -> Result:
        plan = self._plan
        if plan.held_calls:
            await self._hold()
        pacing = asyncio.create_task(self._pace()) if plan.rate else None
        self._begin()
        if not pacing:
            for n in range(min(plan.outstanding, plan.calls or plan.outstanding)):
                self._send(self._connections[n % plan.connections], time.perf_counter())
        if plan.calls:
            await asyncio.wait_for(self._idle.wait(), plan.patience)
        else:
            await asyncio.sleep(plan.warm_up)
            self._begin()
            await asyncio.sleep(plan.seconds)
        ended = self._mark()
        self._ending = True
        if pacing:
            pacing.cancel()
        if unanswered := self._outstanding():
            try:
                await asyncio.wait_for(self._idle.wait(), plan.patience)
            except TimeoutError:
                unanswered = self._outstanding()
                self._errors[_unanswered(plan)] += unanswered
        if plan.held_calls:
            self._held_early = self._held_answered
            try:
                await asyncio.wait_for(self._released.wait(), plan.patience)
            except TimeoutError:
                self._held_errors[_unanswered(plan)] += self._held
        return self._summed(self._begun, ended)

    async def _hold(self) -> None:
        plan = self._plan
        assert plan.held is not None  # noqa: S101 - or nothing is held
        before, least = resident_bytes(plan.servers), cpu_seconds(plan.servers) + plan.held_calls * _LEAST
        for n in range(plan.held_calls):
            self._connections[n % plan.connections].call(plan.held.numbered(n), _HELD)
        busy = now = time.perf_counter()
        while now - busy < _IDLE and self._held and not self._held_answered:
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            if cpu_seconds(plan.servers) < least or not all(map(is_waiting, plan.servers)):
                busy = now
        self._held_bytes = resident_bytes(plan.servers) - before

    def _over_held(self, status: str) -> None:
        self._held -= 1
        if status == OK:
            self._held_answered += 1
        else:
            self._held_errors[status] += 1
        if not self._held:
            self._released.set()

    def _outstanding(self) -> int:
        """Of the calls that are not held."""
        return sum(each.outstanding for each in self._connections) - self._held

    def _begin(self) -> None:
        """Forget what was counted so far."""
        self._times = array("d")
        self._begun = self._mark()

    def _mark(self) -> tuple[float, float, float]:
        """The instant, and what servers and generator have used of the processor."""
        return time.perf_counter(), cpu_seconds(self._plan.servers), time.process_time()

    def _send(self, connection: Connection, at: float) -> None:
        plan, number = self._plan, self._number
        if plan.among:
            number = plan.first + (number - plan.first) % plan.among
        connection.call(plan.body.numbered(number), at)
        self._number += 1
        self._sent += 1

    def _answered(self, connection: Connection, at: float, status: str) -> None:
        now = time.perf_counter()
        if at == _HELD:
            self._over_held(status)
            return
        if status != OK:
            self._errors[status] += 1
        elif not self._ending:
            self._times.append(now - at)
            if self._skip and len(self._times) == self._skip:
                self._skip = 0
                self._begin()
        plan = self._plan
        over = self._ending or connection.lost or sum(self._errors.values()) > _ERRORS
        if over or (plan.calls and self._sent >= plan.calls):
            if not self._outstanding():
                self._idle.set()
        elif not plan.rate:
            self._send(connection, now)
        elif self._due:
            self._due.pop()
            self._send(connection, now)

    async def _pace(self) -> None:
        plan, began, bursts = self._plan, time.perf_counter(), 0
        while not plan.calls or self._sent + len(self._due) < plan.calls:
            at = began + bursts * plan.burst / plan.rate
            await asyncio.sleep(at - time.perf_counter())
            for _ in range(plan.burst):
                if plan.outstanding and self._outstanding() >= plan.outstanding:
                    self._due.append(at)
                    continue
                self._turn += 1
                sent_at = time.perf_counter() if plan.outstanding else at
                self._send(self._connections[self._turn % plan.connections], sent_at)
            bursts += 1

    def _summed(self, begun: tuple[float, float, float], ended: tuple[float, float, float]) -> Result:
        times = sorted(self._times) or [0.0]
        elapsed, server, own = (end - begin for begin, end in zip(begun, ended, strict=True))
        return Result(
            calls=len(self._times),
            elapsed=elapsed,
            median=times[len(times) // 2],
            p99=times[ceil(len(times) * 0.99) - 1],
            longest=times[-1],
            server_cpu=server,
            generator_cpu=own,
            next=self._number,
            held_back=sum(each.held_back for each in self._connections),
            held_bytes=self._held_bytes,
            held_answered=self._held_answered,
            held_early=self._held_early,
            held_errors=dict(self._held_errors),
            errors=dict(self._errors),
        )


def _unanswered(plan: Plan) -> str:
    return f"not answered within {plan.patience:g} s after the end"


async def carry_out(plan: Plan) -> Result:
    """Carry a plan out in this process. :raises OSError, TimeoutError: the server could not be reached."""
    return await _Run(plan).result()


async def _answer(plan: Plan) -> dict[str, Any]:
    try:
        return asdict(await carry_out(plan))
    except (OSError, TimeoutError) as failure:
        return {"failed": f"{type(failure).__name__}: {failure}"}


def main() -> None:
    """Plans come in as lines of JSON, results go out as such; it ends with its input."""
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    for line in sys.stdin:
        given = json.loads(line)
        bodies = {
            name: Body(tuple(base64.b64decode(part) for part in given[name]))
            for name in ("body", "held")
            if given[name]
        }
        plan = Plan(**given | bodies | {"servers": tuple(given["servers"])})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(_answer(plan))), flush=True)


if __name__ == "__main__":
    main()
