"""A connector whose platform takes five seconds has more polls than it may have at once: what another connector's take.

    python -m benchmarks --only saturation

Everything is as it is set by default. The slow connector is polled at a pace at which its 256 places, or its 16 threads
where its methods are blocking, are always taken; what comes above waits for its turn, and is answered with what is
known when its time is up. The other connector's polls come 200 a second; their times are counted from when they were
due.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks.line import Line
from benchmarks.load import Generator, LoadError, Plan, Result
from benchmarks.nothing import GET, SLOW, get_task
from benchmarks.servers import Serving, connectors, cores

__all__ = ["lines"]

_KINDS = {"slow": ("asynchronous methods", 75.0), "blocking": ("blocking methods", 10.0)}
"""What fills the connector, and polls a second: in five seconds half as many again as it may have at once."""
_RATE = 200.0


def lines(rounds: int) -> list[Line]:
    """Measure all of them. It blocks. :param rounds: 1 is short, to try whether it works."""
    seconds = 2.0 if rounds == 1 else 6.0
    core, own = cores()
    unloaded: dict[str, list[Result]] = {kind: [] for kind in _KINDS}
    loaded: dict[str, list[Result]] = {kind: [] for kind in _KINDS}
    with ExitStack() as stack:
        filling, asking = (stack.enter_context(Generator(core=own)) for _ in range(2))
        for _ in range(rounds):
            for kind, (_, rate) in _KINDS.items():
                with connectors(core=core) as server:
                    asking.run(_asked(server, 0.5))  # what is made with the first calls
                    unloaded[kind].append(asking.run(_asked(server, seconds)).require())
                    filling.begin(_filled(server, kind, rate, SLOW + 1 + seconds))
                    loaded[kind].append(asking.run(_asked(server, seconds, after=SLOW + 1)).require())
                    if filling.finish().require().p99 < SLOW * 1.1:
                        raise LoadError(f"the connector of {kind} was not full: no poll of it waited for its turn")
    return [_told(kind, loaded[kind], unloaded[kind]) for kind in _KINDS]


def _asked(server: Serving, seconds: float, *, after: float = 0.3) -> Plan:
    """:param after: seconds for which answers are not counted: the slow connector is not full yet."""
    return Plan(
        server.address,
        GET,
        get_task(),
        servers=(server.pid,),
        connections=1,
        outstanding=0,
        rate=_RATE,
        seconds=seconds,
        warm_up=after,
    )


def _filled(server: Serving, kind: str, rate: float, seconds: float) -> Plan:
    return Plan(
        server.address,
        GET,
        get_task(kind),
        connections=1,
        outstanding=0,
        rate=rate,
        calls=round(rate * seconds),
        patience=60.0,
    )


def _told(kind: str, loaded: Sequence[Result], unloaded: Sequence[Result]) -> Line:
    methods, rate = _KINDS[kind]
    medians = [median(each.median for each in results) * 1e3 for results in (loaded, unloaded)]
    return Line(
        name=f"A slow connector ({SLOW:g} s, {methods}) is full: 99th percentile of another's GetTask",
        unit="ms",
        ours=tuple(each.p99 * 1e3 for each in loaded),
        theirs=tuple(each.p99 * 1e3 for each in unloaded),
        beside="the same, unloaded",
        bound=1.2,
        aim=1.0,
        more_is_better=False,
        notes=(
            f"{_RATE:g} polls a second beside {rate:g} of the slow connector's. At the median: {medians[0]:.2f} ms,"
            f" unloaded {medians[1]:.2f} ms.",
        ),
    )
