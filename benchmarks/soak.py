"""``make soak``: ten minutes of calls against one server process, and what becomes of its memory and of the tasks.

The server has a SQLite store and the test kit's platform behind it, which loses answers, is slow and refuses by
script. Callers are the kit's backend (create, get, delete) and its client (``do``). The server has one core for itself
where the machine has several.

Before that it runs short jobs, so that by the second half the server has met as many as it remembers: what only fills
what is bounded is not taken for a leak, and no leak hides behind it. It fails where a task is lost, where a job is
missing or was made twice, where fewer calls came about than were to, and where the server's memory grows in the second
half by more than ``--bound``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import Any

from benchmarks.processes import resident_bytes
from connectors import TaskTemplate
from connectors.client import CallFailed, ConnectorClient
from connectors.testing.backend import Backend, BackendTask
from tests.registry.distributions import write_distribution
from tests.server.processes import ServerProcess

CALLS_OF_A_TASK = 7.5
"""A create, polls every 0.5 s of a job that takes 3 s, and the delete of those that are aborted."""
DO_SHARE = 0.1
ABORTED = 10
"""One task in so many is aborted by its user halfway."""
REMEMBERED, AT_ONCE = 17_000, 200
"""Jobs: the server knows the 16,384 that were polled last. And how many of the short ones run at the same time, as many
as polls do later: what calls take at a busy moment stays with the process, for those of the next.
"""
BOUND = 30.0
"""MB/h: 5 MB in ten minutes. The records of a memory that is flat vary by less from minute to minute."""
TASK_TYPES = ("platform_native", "platform_search")
FAULTS: Sequence[dict[str, Any]] = (
    {"action": "lose", "committed": True, "probability": 0.02},
    {"action": "answer", "status": 503, "probability": 0.02},
    {"action": "answer", "status": 429, "retry_after": "1", "probability": 0.01},
    {"action": "slow", "delay": 0.3, "probability": 0.05},
)
PLUGIN = """
import os
from connectors import Phase, Resource, SyncConnectorBase
from connectors.http import error_for_status
from connectors.testing.platform import NativeConnector, SearchConnector

class Asking(SyncConnectorBase):
    task_type = "soak_do"

    async def do(self, task, ctx):
        answer = await ctx.http.request("GET", os.environ["SOAK_PLATFORM"] + "/jobs?key=none")
        if answer.status != 200:
            raise error_for_status(answer.status, "the platform said so", answer.headers)
        return Resource(Phase.SUCCEEDED)
"""


@dataclass(frozen=True)
class Sample:
    """Of the server process."""

    at: float
    """Seconds since the beginning."""
    rss: float
    """MB."""
    descriptors: int
    threads: int


@dataclass
class Tally:
    """What was asked for, and what came of it."""

    samples: list[Sample] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    """Why, of each task that did not end as it should."""
    calls: int = 0
    failed_calls: int = 0
    dos: int = 0
    failed_dos: list[str] = field(default_factory=list)
    wanted: set[str] = field(default_factory=set)
    """Tasks that must have one job."""


def main() -> None:
    """Run it; the exit status is 1 where something is as it must not be."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="connectors-soak-") as folder:
        sys.exit(asyncio.run(_soak(options, Path(folder))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    parser.add_argument("--seconds", type=float, default=seconds, help="of load (default: SOAK_SECONDS, or 600)")
    parser.add_argument("--rate", type=float, default=300.0, help="calls a second (default: 300)")
    parser.add_argument("--warm-up", type=int, help="short jobs to begin with (default: what the first half leaves)")
    parser.add_argument("--bound", type=float, default=BOUND, help=f"MB/h in the second half (default: {BOUND:g})")
    parser.add_argument("--least", type=float, default=0.9, help="of the rate that must come about (default: 0.9)")
    options = parser.parse_args()
    if options.warm_up is None:
        options.warm_up = max(0, REMEMBERED - int(_tasks_a_second(options.rate) * options.seconds / 2))
    return options


def _tasks_a_second(rate: float) -> float:
    return rate * (1 - DO_SHARE) / CALLS_OF_A_TASK


async def _soak(options: argparse.Namespace, folder: Path) -> int:
    tally = Tally()
    own, others = _cores()
    os.sched_setaffinity(0, others)  # for what is started from here on, too
    async with _platform() as url:
        variables = {f"CONNECTORS_{each.upper()}__URL": url for each in TASK_TYPES} | {"SOAK_PLATFORM": url}
        plugins = folder / "plugins"
        plugins.mkdir()
        entries = {"platform_native": "NativeConnector", "platform_search": "SearchConnector", "soak_do": "Asking"}
        write_distribution(plugins, "soak", PLUGIN, entry_points=entries)
        store = f"--store=sqlite:///{folder}/soak.sqlite"
        server = ServerProcess(store, plugins=plugins, cwd=folder, variables=variables)
        try:
            os.sched_setaffinity(server.pid, own)
            address = await asyncio.to_thread(lambda: server.address)
            await _warm_up(server, address, tally, options.warm_up)
            for each in FAULTS:
                await asyncio.to_thread(_posted, f"{url}/_faults", each)
            print(f"{options.rate:g} calls/s for {options.seconds:g} s", flush=True)
            watching = asyncio.create_task(_watch(server, tally))
            await _load(address, tally, options)
            _ = watching.cancel()
            jobs = await asyncio.to_thread(_got, f"{url}/_jobs")
            server.send(signal.SIGTERM)
            code = await asyncio.to_thread(server.wait)
        finally:
            server.close()
    return judge(tally, jobs["jobs"], options, code)


def _cores() -> tuple[set[int], set[int]]:
    """The server's, and everybody else's; the same where there is one."""
    first, *rest = sorted(os.sched_getaffinity(0))
    return {first}, {*rest} or {first}


@asynccontextmanager
async def _platform() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "connectors.testing.platform"), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it is piped
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


# ---------------------------------------------------------------------------------------------------------------- load


async def _warm_up(server: ServerProcess, address: str, tally: Tally, jobs: int) -> None:
    began, numbers = time.monotonic(), iter(range(jobs))
    before = _sample(server, began)
    async with Backend([address], poll_interval=0.1, patience=120.0) as backend, asyncio.TaskGroup() as group:

        async def run_some() -> None:
            for number in numbers:
                server.lines.clear()  # or what the server logs would be kept here
                await _run(backend, tally, _task(f"warm-up-{number}", number, duration=0.0))

        for _ in range(AT_ONCE):
            group.create_task(run_some())
    tally.calls = tally.failed_calls = 0
    print(f"the server is process {server.pid}; {jobs} jobs to begin with\n  {_line(before)}", flush=True)
    print(f"  {_line(_sample(server, began))}", flush=True)


async def _load(address: str, tally: Tally, options: argparse.Namespace) -> None:
    tasks = _tasks_a_second(options.rate)
    async with (
        Backend([address], poll_interval=0.5, workers=200, patience=120.0) as backend,
        ConnectorClient(address, timeout=30.0) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_paced(tasks, options.seconds, lambda n: group.create_task(_run(backend, tally, _soaked(n)))))
        dos = options.rate * DO_SHARE
        group.create_task(_paced(dos, options.seconds, lambda n: group.create_task(_do(client, tally))))


async def _paced(rate: float, seconds: float, start: Any) -> None:
    """Begin ``rate`` a second, whatever becomes of those before."""
    began, number = time.monotonic(), 0
    while (at := number / rate) < seconds:
        await asyncio.sleep(began + at - time.monotonic())
        start(number)
        number += 1


def _soaked(number: int) -> BackendTask:
    return _task(f"soak-{number}", number, duration=3.0, abort_after=None if number % ABORTED else 1.5)


def _task(execution: str, number: int, *, duration: float, abort_after: float | None = None) -> BackendTask:
    template = TaskTemplate(TASK_TYPES[number % len(TASK_TYPES)], custom={"duration": duration})
    return BackendTask(template, execution=execution, abort_after=abort_after)


async def _run(backend: Backend, tally: Tally, task: BackendTask) -> None:
    is_aborted = task.abort_after is not None
    (fate,) = await backend.run([task])
    tally.outcomes[fate.outcome] += 1
    tally.calls += len(fate.calls)
    tally.failed_calls += len(fate.failed_calls)
    if not is_aborted:
        tally.wanted.add(task.output_prefix("flyte1").rpartition("/")[0])
    if fate.outcome != ("aborted" if is_aborted else "succeeded"):
        tally.lost.append(f"{task.execution}: {fate.outcome}: {fate.reason}")


async def _do(client: ConnectorClient, tally: Tally) -> None:
    tally.dos += 1
    try:
        await client.do(TaskTemplate("soak_do"))
    except CallFailed as failure:
        tally.failed_dos.append(str(failure))


# -------------------------------------------------------------------------------------------------------------- figures


async def _watch(server: ServerProcess, tally: Tally) -> None:
    began = time.monotonic()
    while True:
        server.lines.clear()  # or what the server logs would be kept here
        tally.samples.append(_sample(server, began))
        if len(tally.samples) % 30 == 1:
            print(
                f"  {_line(tally.samples[-1])}  {tally.calls + tally.dos:>8} calls of tasks that are over", flush=True
            )
        await asyncio.sleep(1.0)


def _sample(server: ServerProcess, began: float) -> Sample:
    place = Path(f"/proc/{server.pid}")
    descriptors, threads = len(os.listdir(place / "fd")), len(os.listdir(place / "task"))
    return Sample(time.monotonic() - began, resident_bytes([server.pid]) / 1e6, descriptors, threads)


def _line(each: Sample) -> str:
    return f"{each.at:6.0f} s  {each.rss:7.1f} MB  {each.descriptors:4} descriptors  {each.threads:3} threads"


def slope(samples: Sequence[Sample]) -> float:
    """MB/h, by least squares; 0 of fewer than two."""
    if len(samples) < 2:
        return 0.0
    return linear_regression([each.at for each in samples], [each.rss for each in samples]).slope * 3600


def judge(tally: Tally, jobs: Sequence[dict[str, Any]], options: argparse.Namespace, code: int) -> int:
    """Print the figures and what is wrong with them; 1 where something is.

    :param jobs: the platform's. :param code: that the server ended with.
    """
    loaded = [each for each in tally.samples if each.at <= options.seconds]
    first, second = loaded[: len(loaded) // 2], loaded[len(loaded) // 2 :]
    made = Counter(str(each["task"]) for each in jobs)
    missing = [task for task in tally.wanted if not made[task]]
    twice = [task for task, count in made.items() if count > 1]
    grows = slope(second)
    print(f"memory: {slope(first):+.1f} MB/h in the first half, {grows:+.1f} in the second (at most {options.bound:g})")
    if loaded:
        print(f"  from {_line(loaded[0])}\n  to   {_line(loaded[-1])}")
    rate = (tally.calls + tally.dos) / options.seconds
    print(f"calls: {rate:.0f}/s of {options.rate:g}")
    print(f"calls of tasks: {tally.calls}, of which {tally.failed_calls} failed")
    print(f"calls of do: {tally.dos}, of which {len(tally.failed_dos)} failed")
    print(f"tasks: {dict(tally.outcomes)}; {len(tally.lost)} lost")
    print(
        f"jobs: {len(jobs)} made, {len(twice)} tasks with two; of {len(tally.wanted)} wanted {len(missing)} are missing"
    )
    faults = [
        *(f"a task was lost: {each}" for each in tally.lost[:10]),
        *(f"a call failed: {each}" for each in tally.failed_dos[:10]),
        *(f"no job: {each}" for each in missing[:10]),
        *(f"two jobs: {each}" for each in twice[:10]),
        *([f"memory grew by {grows:.1f} MB/h"] if grows > options.bound else []),
        *([f"there were only {rate:.0f} calls/s"] if rate < options.least * options.rate else []),
        *([f"the server ended with {code}"] if code else []),
    ]
    for each in faults:
        print(f"FAULT: {each}")
    return 1 if faults else 0


def _posted(url: str, body: Any) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http, and our own
        answer.read()


def _got(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - http, and our own
        return json.load(answer)


if __name__ == "__main__":
    main()
