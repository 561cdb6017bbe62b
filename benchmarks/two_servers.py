"""Two servers over one store, on two cores, beside one, and two that share nothing: what a call costs the processor.

    python -m benchmarks --only two_servers

The stores are Redis servers. In each turn jobs are created and then polled, each job several times. With two servers
over one store, half of all polls come to the server that did not make the job. The bound is beside one server, which
has its core for itself. Two busy cores slow each other down, whatever the servers share: how much of the figure that is
stands in the notes, beside two servers that have a store each and are as busy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.line import Line
from benchmarks.load import Generator, Plan, Result
from benchmarks.nothing import CREATE, GET, create_task, get_task
from benchmarks.servers import Serving, connectors, cores
from tests.stores.redis_server import available, redis_server

__all__ = ["lines"]

_NAME = "Two servers over one store (Redis): processor time of a call"
_EACH = 32
"""Calls that are outstanding at each server."""
_POLLS = 4
"""For each create."""


_Group = tuple[Generator, Sequence[Serving]]
"""Servers over one store, and who loads them."""


@dataclass(frozen=True)
class _Turn:
    """One create and four polls of many jobs."""

    results: Sequence[Result]
    calls: int
    cost: float
    """Of a call, in seconds of the servers' processors."""
    elapsed: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.elapsed


def lines(rounds: int) -> list[Line]:
    """Measure it. It blocks. :param rounds: 1 is short, to try whether it works."""
    if reason := available():
        return [Line(name=_NAME, unit="µs", not_measured=reason)]
    jobs = 300 if rounds == 1 else 1_500
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectors-bench-")))
        urls = [stack.enter_context(redis_server(folder / str(n))).url for n in range(3)]
        servers = [
            stack.enter_context(connectors(core=core, store=store))
            for core, store in zip(2 * cores(), (urls[0], urls[0], urls[1], urls[2]), strict=True)
        ]
        first, second = (stack.enter_context(Generator()) for _ in range(2))
        kinds: dict[str, Sequence[_Group]] = {
            "shared": [(first, servers[:2])],
            "apart": [(first, servers[2:3]), (second, servers[3:])],
            "one": [(first, servers[2:3])],
        }
        turns: dict[str, list[_Turn]] = {kind: [] for kind in kinds}
        number = 0
        for n in range(rounds + 1):
            for kind, groups in kinds.items():
                turn = _turn(groups, number, jobs)
                number += jobs
                if n:  # in the first, connections and whatever is made with the first calls are made
                    turns[kind].append(turn)
    return [_told(turns)]


def _turn(groups: Sequence[_Group], number: int, jobs: int) -> _Turn:
    results, elapsed, share = [], 0.0, jobs // len(groups)
    for path in (CREATE, GET):
        for n, (generator, servers) in enumerate(groups):
            generator.begin(_plan(path, servers, number + n * share, share))
        done = [generator.finish().require() for generator, _ in groups]
        elapsed += max(each.elapsed for each in done)
        results += done
    calls = sum(each.calls for each in results)
    return _Turn(results, calls, sum(each.server_cpu for each in results) / calls, elapsed)


def _plan(path: str, servers: Sequence[Serving], first: int, jobs: int) -> Plan:
    polls = path == GET
    return Plan(
        ",".join(each.address for each in servers),
        path,
        get_task() if polls else create_task(),
        servers=tuple(each.pid for each in servers),
        connections=2 * len(servers),
        outstanding=_EACH * len(servers),
        calls=jobs * _POLLS if polls else jobs,
        first=first,
        among=jobs if polls else 0,
        timeout=60.0,
        patience=120.0,
    )


def _told(turns: Mapping[str, Sequence[_Turn]]) -> Line:
    apart = [mine.cost / theirs.cost for mine, theirs in zip(turns["shared"], turns["apart"], strict=True)]
    scaled = median(each.rate for each in turns["shared"]) / median(each.rate for each in turns["one"])
    return Line(
        name=_NAME,
        unit="µs",
        ours=tuple(each.cost * 1e6 for each in turns["shared"]),
        theirs=tuple(each.cost * 1e6 for each in turns["one"]),
        beside="one server",
        bound=1.1,
        aim=1.0,
        more_is_better=False,
        notes=(
            f"One create to {_POLLS} polls. Beside two servers that share nothing and are as busy a call costs"
            f" {median(apart):.2f} times as much ({min(apart):.2f} to {max(apart):.2f}). {scaled:.2f} times as many"
            " calls are answered in a second as by one server: the two share two cores with Redis and the generator.",
        ),
    )
