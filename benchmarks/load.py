"""What is to be sent to a server, what came of it, and the generator: a process of its own that keeps N calls
outstanding, or sends them at a pace.

Every call has a body of its own: a number stands in it, and no two calls that are outstanding have the same. The status
of every answer is looked at: what is not OK is counted by what it says, and never as a result. What the server's
processes and the generator's own used of the processor is measured from the first to the last counted answer.

    with Generator(core=1) as generator:
        result = generator.run(Plan(address, path, body, outstanding=256, servers=(pid,))).require()
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["NUMBER", "ROOT", "Body", "Generator", "LoadError", "Plan", "Result", "environment"]

NUMBER = b"0123456789"
"""What stands in a message where the call's number is to be: ten digits, so that all bodies have the same length."""
ROOT = Path(__file__).parents[1]
"""Of the checkout, where ``benchmarks`` can be imported."""


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
    held_answered: int = 0
    """Held calls that were answered well."""
    held_early: int = 0
    """Of these, those that were before all others were: they were not held for as long as was to be measured."""
    held_errors: dict[str, int] = field(default_factory=dict)
    """How many held calls failed with which status."""
    held_back: int = 0
    """Calls that waited in the generator, because the server allowed no more at once on a connection."""
    errors: dict[str, int] = field(default_factory=dict)
    """How many of the other calls failed with which status, counted or not."""

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
        """Itself. :raises LoadError: a call that was not held failed, or none was answered."""
        if self.errors or not self.calls:
            worst = sorted(self.errors.items(), key=lambda each: -each[1])[:3]
            raise LoadError(f"{self.calls} calls were answered; failed: {worst}")
        return self


def environment() -> dict[str, str]:
    """For what is measured: this process's, but for what would slow it down or change what is served."""
    dropped = ("CONNECTORS_", "COVERAGE", "OTEL_", "PYTHONDONTWRITE", "PYTHONPROFILE", "PYTHONDEVMODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


class Generator:
    """The generator's process. Its methods block."""

    def __init__(self, *, core: int | None = None) -> None:
        """:param core: the one that it is kept on; None leaves it free."""
        arguments = [] if core is None else [str(core)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generator", *arguments],
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
