"""Two servers over one store, on two cores, beside one server: what a call costs the processor.

    python -m benchmarks.two_servers --rounds 1

The store is a Redis server of its own. In each turn jobs are created and then polled, each job several times. With two
servers half of all polls come to the server that did not make the job. What Redis uses is told apart.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.line import Line
from benchmarks.load import Generator, Plan, Result, cpu_seconds
from benchmarks.nothing import CREATE, GET, create_task, get_task
from benchmarks.servers import Serving, connectors, cores
from tests.stores.redis_server import available, redis_server

__all__ = ["lines"]

_NAME = "Two servers over one store (Redis) beside one: processor time of a call"
_EACH = 32
"""Calls that are outstanding at each server."""
_POLLS = 4
"""For each create."""


@dataclass(frozen=True)
class _Turn:
    """One create and four polls of many jobs, at one server or at two."""

    creates: Result
    polls: Result
    redis: float
    """Seconds of the processor that Redis used."""

    @property
    def calls(self) -> int:
        return self.creates.calls + self.polls.calls

    @property
    def cost(self) -> float:
        """Of a call, in seconds of the servers' processors."""
        return (self.creates.server_cpu + self.polls.server_cpu) / self.calls

    @property
    def rate(self) -> float:
        return self.calls / (self.creates.elapsed + self.polls.elapsed)


def lines(rounds: int) -> list[Line]:
    """Measure it. It blocks. :param rounds: 1 is short, to try whether it works."""
    if reason := available():
        return [Line(name=_NAME, unit="µs", not_measured=reason)]
    first, second = cores()
    jobs = 300 if rounds == 1 else 1_500
    one: list[_Turn] = []
    two: list[_Turn] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectors-bench-")))
        redis = stack.enter_context(redis_server(folder))
        servers = [stack.enter_context(connectors(core=core, store=redis.url)) for core in (first, second)]
        generator = stack.enter_context(Generator())
        number = 0
        for n in range(rounds + 1):
            # the one server is each of them in turn: a core may be busier than the other
            for turns, used in ((one, [servers[n % 2]]), (two, servers)):
                turn = _turn(generator, used, redis.pid, number, jobs)
                number += jobs
                if n:  # in the first, connections and whatever is made with the first calls are made
                    turns.append(turn)
    return [_told(one, two)]


def _turn(generator: Generator, used: Sequence[Serving], redis: int, number: int, jobs: int) -> _Turn:
    before = cpu_seconds([redis])
    creates = Plan(
        ",".join(each.address for each in used),
        CREATE,
        create_task(),
        servers=tuple(each.pid for each in used),
        connections=2 * len(used),
        outstanding=_EACH * len(used),
        calls=jobs,
        first=number,
        timeout=60.0,
        patience=120.0,
    )
    polls = replace(creates, path=GET, body=get_task(), calls=jobs * _POLLS, among=jobs)
    results = generator.run(creates).require(), generator.run(polls).require()
    return _Turn(*results, cpu_seconds([redis]) - before)


def _told(one: Sequence[_Turn], two: Sequence[_Turn]) -> Line:
    redis = [median(each.redis / each.calls for each in turns) * 1e6 for turns in (one, two)]
    scaled = median(each.rate for each in two) / median(each.rate for each in one)
    return Line(
        name=_NAME,
        unit="µs",
        ours=tuple(each.cost * 1e6 for each in two),
        theirs=tuple(each.cost * 1e6 for each in one),
        beside="one server",
        bound=1.1,
        aim=1.0,
        more_is_better=False,
        notes=(
            f"One create to {_POLLS} polls. For each call Redis used {redis[0]:.0f} µs with one server,"
            f" {redis[1]:.0f} µs with two. Two answered {scaled:.2f} times as many calls a second, on two cores that"
            " they shared with Redis and the generator.",
        ),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_servers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="1 is short (default: 4)")
    for line in lines(parser.parse_args().rounds):
        print(line.name, line.unit, line.ours, line.theirs, line.figure, line.spread, line.verdict, line.not_measured)
        for note in line.notes:
            print("   ", note)


if __name__ == "__main__":
    main()
