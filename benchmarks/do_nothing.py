"""GetTask and CreateTask of a connector that does nothing: this service, the reference, and raw grpclib beneath both.

    python -m benchmarks --only do_nothing

Each server is kept on one core, and measured in turns, alone; the generator has the other. Polls are about jobs that
creates have made before; each create is of a key of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from benchmarks.line import Line
from benchmarks.load import Generator, Plan, Result
from benchmarks.nothing import CREATE, GET, create_task, get_task
from benchmarks.reference import server as reference
from benchmarks.servers import Serving, connectors, cores, floor
from demo.emulators import EmulatorError

__all__ = ["ceiling", "lines"]

_OUTSTANDING = 256
_JOBS = 2048
"""That exist when polls begin; each poll is about the one after, so that no two outstanding ones are about the same."""


@dataclass
class _Side:
    """One server, and what was measured of it, a figure for each round."""

    name: str
    server: Serving | reference.ReferenceServer
    gets: list[Result] = field(default_factory=list)
    creates: list[Result] = field(default_factory=list)
    next: int = 0

    def plan(self, path: str, calls: int) -> Plan:
        polls = path == GET
        return Plan(
            self.server.address,
            path,
            get_task() if polls else create_task(),
            servers=(self.server.pid,),
            outstanding=_OUTSTANDING,
            calls=calls + _OUTSTANDING,
            skip=_OUTSTANDING,
            timeout=60.0,
            first=0 if polls else self.next,
            among=_JOBS if polls else 0,
            patience=60.0,
        )

    def measure(self, generator: Generator, polls: int, creates: int) -> None:
        self.gets.append(generator.run(self.plan(GET, polls)).require())
        self.creates.append(self.create(generator, creates))

    def create(self, generator: Generator, calls: int) -> Result:
        result = generator.run(self.plan(CREATE, calls)).require()
        self.next = result.next
        return result


def ceiling(generator: Generator, core: int) -> Result:
    """What the generator does with a server that reads nothing."""
    with floor("canned", core=core) as canned:
        plan = Plan(canned.address, GET, get_task(), servers=(canned.pid,), outstanding=_OUTSTANDING, seconds=1.0)
        return generator.run(plan).require()


def lines(rounds: int) -> list[Line]:
    """Measure both. It blocks. :param rounds: 1 is short, to try whether it works."""
    polls, creates = (1000, 500) if rounds == 1 else (10_000, 5_000)
    core, own = cores()
    missing = ""
    with ExitStack() as stack:
        generator = stack.enter_context(Generator(core=own))
        most = ceiling(generator, core)
        raw = _Side("raw grpclib", stack.enter_context(floor(core=core)))
        ours = _Side("ours", stack.enter_context(connectors(core=core)))
        sides = [raw, ours]
        try:
            theirs = _Side(reference.REFERENCE, stack.enter_context(reference.running(core=core)))
            sides.append(theirs)
        except (EmulatorError, RuntimeError) as reason:
            missing = str(reason)
        for each in sides:
            each.create(generator, _JOBS)
        for number in range(rounds):
            for each in sides if number % 2 == 0 else reversed(sides):
                each.measure(generator, polls, creates)
    beside = sides[2] if not missing else _Side("", ours.server)
    told = f"The generator alone, with a server that reads nothing: {most.rate:,.0f} calls/s."
    return [
        _line("GetTask", (ours.gets, raw.gets, beside.gets), missing, (told,)),
        _line("CreateTask", (ours.creates, raw.creates, beside.creates), missing, ()),
    ]


def _line(
    name: str, results: tuple[Sequence[Result], Sequence[Result], Sequence[Result]], missing: str, told: tuple[str, ...]
) -> Line:
    ours, raw, theirs = results
    to_raw = median(mine.cpu_per_call / other.cpu_per_call for mine, other in zip(ours, raw, strict=True))
    could = min(each.generator_ceiling for each in (*ours, *raw, *theirs))
    notes = [
        f"{name}: raw grpclib with no codec answers {median(each.rate for each in raw):,.0f} calls/s; a call costs ours"
        f" {_cost(ours):.0f} µs of the processor, {to_raw:.2f} times what it costs raw grpclib"
        + (f", and {_cost(ours) / _cost(theirs):.2f} times what it costs the reference." if theirs else "."),
        f"{name}: at what each call cost the generator, it could have made {could:,.0f} of them a second.",
    ]
    return Line(
        name=f"A connector that does nothing: {name}, one core",
        unit="calls/s",
        ours=tuple(each.rate for each in ours),
        theirs=tuple(each.rate for each in theirs),
        beside=reference.REFERENCE if theirs else "",
        bound=1.0,
        aim=1.25,
        further_aim=2.0,
        not_measured=missing,
        notes=(*notes, *told),
    )


def _cost(results: Sequence[Result]) -> float:
    return median(each.cpu_per_call for each in results) * 1e6
