"""Five thousand GetTask calls outstanding at once, while the platform takes five seconds: this service and raw grpclib.

    python -m benchmarks --only outstanding

Of each it tells what an outstanding call holds of memory; and what a call that does nothing, on the same connections,
costs the processor beside 5,000 that are outstanding, and beside 100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from benchmarks.line import Line, known
from benchmarks.load import Generator, LoadError, Plan, Result
from benchmarks.nothing import GET, SLOW, get_task
from benchmarks.servers import Serving, connectors, cores, floor

__all__ = ["FEW", "MANY", "Held", "lines", "told"]

MANY, FEW = 5_000, 100
_OURS_ON, _RAW_ON = 8, 64
"""Connections: ours allows 1,000 calls on each, raw grpclib 100, as h2 does."""
_ROOM = ("--connector-concurrency=8192", "--concurrency=8192")
"""By default a connector has 256 calls at once, and those above wait for their turn."""


class _TooSlow(Exception):
    """Calls were answered before all was measured: this machine is too busy for such a pause."""


@dataclass(frozen=True)
class Held:
    """What was seen while calls were outstanding."""

    pause: float
    """Seconds that each took on purpose."""
    many: Result
    """Of the calls that do nothing, beside :data:`MANY`."""
    few: Result
    """The same, beside :data:`FEW`."""

    @property
    def memory(self) -> float | None:
        """Bytes for each of the many that was answered; None where none was."""
        return self.many.held_bytes / self.many.held_answered if self.many.held_answered else None


def lines(rounds: int) -> list[Line]:
    """Measure all of them. It blocks. :param rounds: 1 is enough to try whether it works."""
    ours, raw = [], []
    for _ in range(rounds):
        ours.append(_held(True))
        raw.append(_held(False))
    return told(ours, raw)


def _held(is_ours: bool) -> Held:
    """The pause is doubled until it is long enough: on a machine that does nothing else the first one is."""
    pause = SLOW
    while True:
        try:
            return _measured(is_ours, pause)
        except _TooSlow:
            pause *= 2
            if pause > 40:  # a call's deadline is 60 s at most
                raise


def _measured(is_ours: bool, pause: float) -> Held:
    core, own = cores()
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(is_ours, pause, core)) for _ in range(2)]
        generators = [stack.enter_context(Generator(core=own)) for _ in range(2)]
        for server, generator in zip(servers, generators, strict=True):
            generator.run(_plan(server, is_ours, 64, 0)).require()
        many, few = (
            generator.run(_plan(server, is_ours, 500, held))
            for server, generator, held in zip(servers, generators, (MANY, FEW), strict=True)
        )
    for each in (many, few):
        if each.held_back:
            raise LoadError(f"{each.held_back} calls waited for the server to allow more on a connection")
        if each.held_early:
            raise _TooSlow
    return Held(pause, many, few)


@contextmanager
def _server(is_ours: bool, pause: float, core: int) -> Iterator[Serving]:
    if is_ours:
        with connectors(*_ROOM, core=core, variables={"SLOW": str(pause)}) as serving:
            yield serving
    else:
        with floor(core=core, pauses={"slow": pause}) as serving:
            yield serving


def _plan(server: Serving, is_ours: bool, calls: int, held: int) -> Plan:
    return Plan(
        server.address,
        GET,
        get_task(),
        servers=(server.pid,),
        held=get_task("slow"),
        held_calls=held,
        calls=calls,
        outstanding=8,
        connections=_OURS_ON if is_ours else _RAW_ON,
        timeout=60.0,
        patience=90.0,
    )


def told(ours: Sequence[Held], raw: Sequence[Held]) -> list[Line]:
    """The lines of so many rounds of both."""
    growth = known(_ratio(_cost(each.many), _cost(each.few)) for each in raw)
    pauses = sorted({each.pause for each in (*ours, *raw)})
    notes = []
    if growth:
        notes.append(
            f"Raw grpclib's call costs {median(growth):.2f} times as much beside {MANY:,} that are outstanding as"
            f" beside {FEW}."
        )
    if pauses != [SLOW]:
        notes.append(f"This machine was busy: the calls took {' or '.join(f'{each:g}' for each in pauses)} s.")
    name = f"{MANY:,} GetTask calls outstanding"
    return [
        Line(
            name=f"{name}: answered",
            unit="calls",
            ours=(float(min(each.many.held_answered for each in ours)),),
            bound=float(MANY),
            notes=(
                f"The fewest of any round. With {' '.join(_ROOM)}.",
                *_failures("this service", ours),
                *_failures("raw grpclib", raw),
            ),
        ),
        Line(
            name=f"{name}: memory for each",
            unit="KB",
            ours=tuple(_ratio(each.memory, 1e3) for each in ours),
            theirs=tuple(_ratio(each.memory, 1e3) for each in raw),
            beside="raw grpclib",
            bound=1.5,
            more_is_better=False,
        ),
        Line(
            name=f"{name}: processor time of a call, beside that at {FEW}",
            unit="µs",
            ours=tuple(_ratio(_cost(each.many), 1e-6) for each in ours),
            theirs=tuple(_ratio(_cost(each.few), 1e-6) for each in ours),
            beside=f"{FEW} outstanding",
            bound=1.3,
            aim=1.0,
            more_is_better=False,
            notes=tuple(notes),
        ),
    ]


def _cost(result: Result) -> float | None:
    """Seconds of the processor for a call that does nothing; None where any of them failed."""
    return result.cpu_per_call if result.calls and not result.errors else None


def _ratio(figure: float | None, to: float | None) -> float | None:
    return figure / to if figure is not None and to else None


def _failures(whose: str, rounds: Sequence[Held]) -> Iterator[str]:
    """What failed of all calls, those that were held and the others."""
    failed: Counter[str] = Counter()
    for each in rounds:
        for result in (each.many, each.few):
            failed += Counter(result.held_errors) + Counter(result.errors)
    if failed:
        statuses = ", ".join(f"{status} ({calls:,})" for status, calls in failed.most_common(3))
        yield f"Calls to {whose} that failed: {statuses}."
