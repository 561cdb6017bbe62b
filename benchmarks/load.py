"""The load generator: a process of its own that keeps N calls outstanding, or sends them at a pace.

Every call has a body of its own: a number stands in it, and no two calls that are outstanding have the same. The status
of every answer is looked at: what is not OK is counted by what it says, and never as a result. What the server's
processes and the generator's own used of the processor is measured from the first to the last counted answer.

    with Generator(core=1) as generator:
        result = generator.run(Plan(address, path, body, outstanding=256, servers=(pid,))).require()
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvloop

from benchmarks.http2 import OK, Connection, header_blocks

__all__ = [
    "NUMBER",
    "ROOT",
    "Body",
    "Generator",
    "LoadError",
    "Plan",
    "Result",
    "cpu_seconds",
    "environment",
    "resident_bytes",
]

NUMBER = b"0123456789"
"""What stands in a message where the call's number is to be: ten digits, so that all bodies have the same length."""
ROOT = Path(__file__).parents[1]
"""Of the checkout, where ``benchmarks`` can be imported."""
_CONNECT_WITHIN = 20.0  # seconds
_ERRORS = 1_000  # after so many no more calls are sent: there will be no result


class LoadError(Exception):
    """A run has no result: calls failed, or the server could not be reached."""


@dataclass(frozen=True)
class Body:
    """A message with the call's number in it, wherever :data:`NUMBER` stood."""

    parts: tuple[bytes, ...]

    @classmethod
    def of(cls, message: bytes) -> Self:
        """:param message: a whole one, with NUMBER in it at least once."""
        parts = tuple(message.split(NUMBER))
        if len(parts) < 2:
            raise ValueError("the message has no place for the number")
        return cls(parts)

    def numbered(self, number: int) -> bytes:
        """The message of one call."""
        return (b"%010d" % number).join(self.parts)


@dataclass(frozen=True)
class Plan:
    """What is to be sent, and for how long."""

    address: str
    """``host:port``, or several with commas between them: the connections are spread over them."""
    path: str
    """Of the method, as in ``/flyteidl.service.AsyncAgentService/GetTask``."""
    body: Body
    servers: tuple[int, ...] = ()
    """Processes whose use of the processor is measured."""
    connections: int = 4
    outstanding: int = 256
    """Calls at once, over all connections: as many are sent at first, and another for each answer. With a rate: the
    most at once, 0 for no bound."""
    seconds: float = 2.0
    """For which answers are counted."""
    warm_up: float = 0.3
    """Seconds before, in which they are not."""
    calls: int = 0
    """Send so many and no more, and take no heed of ``seconds`` and ``warm_up``."""
    skip: int = 0
    """Of ``calls``, the first answers, which are not counted, nor what was used before them: connections are made."""
    rate: float = 0.0
    """Calls a second, whether or not those before were answered; 0 is a closed loop. A time is then counted from the
    instant at which its call was to be sent, or, where ``outstanding`` bounds them, from when it was."""
    burst: int = 1
    """Calls at once, as seldom as the rate allows."""
    timeout: float = 10.0
    """Seconds, below 100: what a call gives its server. The generator itself waits on."""
    first: int = 0
    """The number of the first call."""
    held: Body | None = None
    """The body of calls that are sent before all others, on the same connections, and take long on purpose. The others
    begin once the servers have nothing to do."""
    held_calls: int = 0
    """How many there are, each with a number of its own."""
    among: int = 0
    """Numbers begin again after so many; 0 is never. It has to be more than are outstanding."""
    patience: float = 30.0
    """Seconds after the end that outstanding calls are waited for."""


@dataclass(frozen=True)
class Result:
    """What came of a plan."""

    calls: int
    """Answered well, of those that are counted."""
    elapsed: float
    """Seconds."""
    median: float
    """Seconds, of the calls that are counted; so are the next two."""
    p99: float
    longest: float
    server_cpu: float
    """Seconds of the processor that the servers used, user's and system's, of all their threads."""
    generator_cpu: float
    """The same of the generator. Near ``elapsed`` it would be the bottleneck."""
    next: int
    """A number that no call had."""
    held_bytes: int = 0
    """By how much the servers' memory grew while the held calls began."""
    held_early: int = 0
    """Held calls that were answered before all others were: they were not held for as long as was to be measured."""
    held_back: int = 0
    """Calls that waited in the generator, because the server allowed no more at once on a connection."""
    errors: dict[str, int] = field(default_factory=dict)
    """How many calls failed with which status, counted or not."""

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.elapsed

    @property
    def cpu_per_call(self) -> float:
        """Seconds of the servers' processor."""
        return self.server_cpu / self.calls

    @property
    def generator_ceiling(self) -> float:
        """Calls a second that the generator could have made at this cost of its own, on a whole core."""
        return self.calls / self.generator_cpu

    def require(self) -> Self:
        """Itself. :raises LoadError: a call failed, or none was answered."""
        if self.errors or not self.calls:
            worst = sorted(self.errors.items(), key=lambda each: -each[1])[:3]
            raise LoadError(f"{self.calls} calls were answered; failed: {worst}")
        return self


def cpu_seconds(pids: Sequence[int]) -> float:
    """What processes used of the processor so far, in nanosecond steps, where ``/proc/PID/stat`` has steps of 10 ms.

    The clock of another process: https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html.
    """
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids) / 1e9


def environment() -> dict[str, str]:
    """For what is measured: this process's, but for what would slow it down or change what is served."""
    dropped = ("CONNECTORS_", "COVERAGE", "OTEL_", "PYTHONDONTWRITE", "PYTHONPROFILE", "PYTHONDEVMODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def resident_bytes(pids: Sequence[int]) -> int:
    """Of processes: https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def _is_waiting(pid: int) -> bool:
    """Whether a process has nothing to do just now: it neither runs nor waits for the processor."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "S"


class Generator:
    """The generator's process. Its methods block."""

    def __init__(self, *, core: int | None = None) -> None:
        """:param core: the one that it is kept on; None leaves it free."""
        arguments = [] if core is None else [str(core)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - pipes
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def run(self, plan: Plan) -> Result:
        """Carry a plan out. :raises LoadError: the server could not be reached."""
        self.begin(plan)
        return self.finish()

    def begin(self, plan: Plan) -> None:
        """Begin to, and leave :meth:`finish` for later."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        given = asdict(replace(plan, body=Body(()), held=None))
        given |= {name: _texts(body) for name, body in (("body", plan.body), ("held", plan.held)) if body}
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Result:
        """What came of it. :raises LoadError: the server could not be reached."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        line = self._process.stdout.readline()
        if not line:
            raise LoadError(f"the generator ended with {self._process.wait()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise LoadError(answer["failed"])
        return Result(**answer)


def _texts(body: Body) -> list[str]:
    return [base64.b64encode(part).decode() for part in body.parts]


# ---------------------------------------------------------------------------------------------------- in its process

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
        self._held, self._held_bytes, self._held_early = plan.held_calls, 0, 0
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
                self._errors[f"not answered within {plan.patience:g} s after the end"] += unanswered
        if plan.held_calls:
            self._held_early = plan.held_calls - self._held
            await asyncio.wait_for(self._released.wait(), plan.patience)
        return self._summed(self._begun, ended)

    async def _hold(self) -> None:
        plan = self._plan
        assert plan.held is not None  # noqa: S101 - or nothing is held
        before, least = resident_bytes(plan.servers), cpu_seconds(plan.servers) + plan.held_calls * _LEAST
        for n in range(plan.held_calls):
            self._connections[n % plan.connections].call(plan.held.numbered(n), _HELD)
        busy = now = time.perf_counter()
        while now - busy < _IDLE and self._held == plan.held_calls:
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            if cpu_seconds(plan.servers) < least or not all(map(_is_waiting, plan.servers)):
                busy = now
        self._held_bytes = resident_bytes(plan.servers) - before

    def _over_held(self, status: str) -> None:
        self._held -= 1
        if status != OK:
            self._errors[status] += 1
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
            held_early=self._held_early,
            errors=dict(self._errors),
        )


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
