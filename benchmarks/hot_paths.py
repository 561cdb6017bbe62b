"""What GetTask and CreateTask of a connector that does nothing cost the processor, beside raw grpclib.

    python -m benchmarks.hot_paths --rounds 10

Compared is what the servers' processes used of the processor for the same number of calls, in turns of a fraction of a
second: so it can be measured while the machine does other things. To measure another copy of the service, put its
``src`` on ``PYTHONPATH``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks.load import Generator, Plan, Result
from benchmarks.nothing import CREATE, GET, create_task, get_task
from benchmarks.servers import Serving, connectors, cores, floor

__all__ = ["PATHS", "HotPath", "measure"]

PATHS: Mapping[str, str] = {"GetTask": GET, "CreateTask": CREATE}
JOBS = 1024
"""That exist when polls begin; every poll is about the one after."""
OUTSTANDING = 64


@dataclass
class HotPath:
    """What one method cost, round by round."""

    name: str
    ours: list[Result] = field(default_factory=list)
    floor: list[Result] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Processor time per call, ours to raw grpclib's."""
        return [mine.cpu_per_call / other.cpu_per_call for mine, other in zip(self.ours, self.floor, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)


def measure(rounds: int, *, calls: int = 300) -> tuple[HotPath, ...]:
    """Start both servers and measure. :param calls: of each method and server in each round.

    :raises benchmarks.load.LoadError: a call failed.
    """
    server_core, own = cores()
    with (
        Generator(core=own) as generator,
        floor(core=server_core) as raw,
        connectors(core=server_core) as ours,
    ):
        return _measured(generator, raw, ours, rounds, calls)


def _measured(generator: Generator, raw: Serving, ours: Serving, rounds: int, calls: int) -> tuple[HotPath, ...]:
    bodies = {"GetTask": get_task(), "CreateTask": create_task()}
    numbers = {"GetTask": JOBS, "CreateTask": 0}
    paths = {name: HotPath(name) for name in PATHS}
    first = {raw: 0, ours: 0}

    def run(server: Serving, name: str, number: int) -> Result:
        plan = Plan(
            server.address,
            PATHS[name],
            bodies[name],
            servers=(server.pid,),
            connections=1,
            outstanding=OUTSTANDING,
            calls=number,
            skip=OUTSTANDING,
            first=first[server] if name == "CreateTask" else 0,
            among=numbers[name],
            patience=60.0,
        )
        result = generator.run(plan).require()
        if name == "CreateTask":
            first[server] = result.next
        return result

    for server in (raw, ours):
        run(server, "CreateTask", JOBS)  # the jobs that are polled; and what is made with the first calls
        run(server, "GetTask", calls)
    for servers in _turns(raw, ours, rounds):
        for name, path in paths.items():
            for server in servers:
                (path.floor if server is raw else path.ours).append(run(server, name, calls))
    return tuple(paths.values())


def _turns(raw: Serving, ours: Serving, rounds: int) -> Iterator[tuple[Serving, Serving]]:
    """Who is first changes: what a turn leaves behind shall not always fall on the same one."""
    for number in range(rounds):
        yield (raw, ours) if number % 2 == 0 else (ours, raw)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_paths", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    parser.add_argument("--calls", type=int, default=300, help="of each method and server in a round (default: 300)")
    options = parser.parse_args()
    for path in measure(options.rounds, calls=options.calls):
        tenths = quantiles(path.ratios, n=10)
        mine, other = (median(each.cpu_per_call for each in results) * 1e6 for results in (path.ours, path.floor))
        print(
            f"{path.name:<12}{mine:7.0f} µs of the processor per call, raw grpclib {other:5.0f} µs:"
            f" {path.ratio:.2f} times ({tenths[0]:.2f} to {tenths[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
