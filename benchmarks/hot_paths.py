"""What GetTask and CreateTask of a connector that does nothing cost the processor, beside raw grpclib.

    python -m benchmarks.hot_paths --rounds 10

Both servers are under load at the same time, on the same core, so that the kernel changes between them every few
milliseconds: whatever else the machine does, it does to both. What each used of the processor is divided by the calls
that it answered. The ratio of the two varies by some per cent from round to round, where their own figures double under
load. To measure another copy of the service, put its ``src`` on ``PYTHONPATH``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from statistics import median

from benchmarks.load import Generator, Plan, Result
from benchmarks.nothing import CREATE, GET, create_task, get_task
from benchmarks.servers import Serving, connectors, cores, floor

__all__ = ["PATHS", "HotPath", "side_by_side"]

PATHS: Mapping[str, str] = {"GetTask": GET, "CreateTask": CREATE}
JOBS = 256
"""That exist when polls begin; each poll is about the one after."""
OUTSTANDING = 8
"""Few: the calls of a round begin and end in batches of as many, which blur what one call cost."""


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

    def __str__(self) -> str:
        mine, other = (median(each.cpu_per_call for each in results) * 1e6 for results in (self.ours, self.floor))
        return (
            f"{self.name}: {mine:.0f} µs of the processor per call, raw grpclib {other:.0f} µs:"
            f" {self.ratio:.2f} times ({min(self.ratios):.2f} to {max(self.ratios):.2f})"
        )


@contextmanager
def side_by_side(outstanding: int = OUTSTANDING) -> Iterator[Callable[[HotPath, int, float], None]]:
    """Both servers, ready to be measured with so many calls outstanding at each.

    It gives a function that adds to a path's figures so many rounds of so many seconds. It blocks, and raises
    :class:`benchmarks.load.LoadError` where a call failed or a server answered none.
    """
    core, own = cores()
    with (
        Generator(core=own) as for_ours,
        Generator(core=own) as for_floor,
        connectors(core=core) as ours,
        floor(core=core) as raw,
    ):
        loaded = {ours: for_ours, raw: for_floor}
        connections = ceil(outstanding / 64)  # raw grpclib allows 100 calls on each
        load = Plan("", GET, get_task(), outstanding=outstanding, connections=connections, warm_up=0.1, patience=60.0)

        jobs = max(JOBS, 4 * outstanding)  # no two outstanding polls are about the same

        def plan(server: Serving, path: str, seconds: float, calls: int = 0) -> Plan:
            if path == GET:
                asked = replace(load, among=jobs)
            else:
                asked = replace(load, path=CREATE, body=create_task(), first=created[server])
            return replace(asked, address=server.address, servers=(server.pid,), seconds=seconds, calls=calls)

        created = dict.fromkeys(loaded, 0)
        for server, generator in loaded.items():
            created[server] = generator.run(plan(server, CREATE, 0.0, calls=jobs)).require().next

        def measure(path: HotPath, rounds: int, seconds: float) -> None:
            for _ in range(rounds):
                for server, generator in loaded.items():
                    generator.begin(plan(server, PATHS[path.name], seconds))
                results = {server: generator.finish().require() for server, generator in loaded.items()}
                path.ours.append(results[ours])
                path.floor.append(results[raw])
                created.update({server: max(created[server], result.next) for server, result in results.items()})

        yield measure


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_paths", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="of each method (default: 10)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round (default: 1)")
    parser.add_argument(
        "--outstanding",
        type=int,
        default=OUTSTANDING,
        help=f"calls; with many, rounds have to be long (default: {OUTSTANDING})",
    )
    options = parser.parse_args()
    with side_by_side(options.outstanding) as measure:
        for path in map(HotPath, PATHS):
            measure(path, options.rounds, options.seconds)
            print(path, flush=True)


if __name__ == "__main__":
    main()
