"""A BigQuery that has nothing to do: every job runs, and every answer takes the same time. A process of its own.

    python -m benchmarks.platform --delay 0.1

It prints its URL and serves until it is told to end. It speaks as much HTTP/1.1 as BigQuery's clients do: one request
of a connection after the other, bodies with a Content-Length. It keeps no jobs but the ids of those that were inserted,
so that its own cost stays the same; what it was asked is counted, and ``GET /counts`` tells.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import cast

import uvloop

__all__ = ["Answers", "Counts", "Platform", "running"]

_HEAD_END = b"\r\n\r\n"
_TOKEN = json.dumps(
    {"access_token": "invented-" + "0" * 200, "expires_in": 3600, "token_type": "Bearer"}  # as long as Google's
).encode()
_STATUSES = {200: b"200 OK", 404: b"404 Not Found", 409: b"409 Conflict", 411: b"411 Length Required"}


@dataclass(frozen=True)
class Counts:
    """What the platform was asked so far."""

    tokens: int
    gets: int
    jobs_asked_for: int
    """Different jobs that were looked at."""
    inserts: int
    jobs_made: int


class Jobs:
    """What is asked of the platform, and the answer's status and body."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._made: set[str] = set()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Of one request. :param path: with its query."""
        place, _, _ = path.partition("?")
        if place == "/counts":
            return 200, json.dumps(self._counts()).encode()
        if place == "/token":
            self._asked["tokens"] += 1
            return 200, _TOKEN
        _, jobs, job_id = place.partition("/jobs")
        project = place.removeprefix("/bigquery/v2/projects/").partition("/")[0]
        if not jobs:
            return 404, b'{"error":{"code":404,"message":"no such page"}}'
        if method == "POST" and not job_id:
            self._asked["inserts"] += 1
            job_id = json.loads(body)["jobReference"]["jobId"]
            if job_id in self._made:
                return 409, b'{"error":{"code":409,"message":"Already Exists","errors":[{"reason":"duplicate"}]}}'
            self._made.add(job_id)
            return 200, _job(project, job_id)
        self._asked["gets"] += 1
        self._seen.add(job_id)
        return 200, _job(project, job_id[1:])

    def _counts(self) -> dict[str, int]:
        return {
            **{name: self._asked[name] for name in ("tokens", "gets", "inserts")},
            "jobs_asked_for": len(self._seen),
            "jobs_made": len(self._made),
        }


_TABLE = {"projectId": "PROJECT", "datasetId": "_5f1c0d2a", "tableId": "anon7d3f9a1b"}
_STATISTICS = {"totalBytesProcessed": "1048576", "totalSlotMs": "1200"}
_JOB = json.dumps(
    {
        "kind": "bigquery#job",
        "id": "PROJECT:EU.JOB",
        "selfLink": "https://bigquery.googleapis.com/bigquery/v2/projects/PROJECT/jobs/JOB?location=EU",
        "user_email": "queries@example-project.iam.gserviceaccount.com",
        "jobReference": {"projectId": "PROJECT", "jobId": "JOB", "location": "EU"},
        "configuration": {
            "jobType": "QUERY",
            "query": {
                "query": "SELECT customer, SUM(total) FROM shop.orders WHERE day = @day GROUP BY customer",
                "destinationTable": _TABLE,
                "useLegacySql": False,
                "priority": "INTERACTIVE",
            },
        },
        "statistics": {
            "creationTime": "1767225600000",
            "startTime": "1767225600250",
            "query": {"statementType": "SELECT", **_STATISTICS},
            **_STATISTICS,
        },
        "status": {"state": "RUNNING"},
    }
)
"""A query that runs, about as long as BigQuery's own."""


def _job(project: str, job_id: str) -> bytes:
    return _JOB.replace("PROJECT", project).replace("JOB", job_id).encode()


class Connection(asyncio.Protocol):
    """One client's. A request that comes before the one before it was answered waits in the buffer."""

    def __init__(self, jobs: Jobs, delay: float) -> None:
        self._jobs = jobs
        self._delay = delay
        self._received = bytearray()
        self._waiting: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._waiting is None:
            self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _read(self) -> None:
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = self._received[:end].decode("latin-1")
        method, path, _ = head[: head.find("\r\n") if "\r\n" in head else end].split(" ")
        length = 0
        if method == "POST":
            fields = dict(each.lower().split(":", 1) for each in head.split("\r\n")[1:])
            if "transfer-encoding" in fields:
                self._write(411, b"{}")
                return
            length = int(fields.get("content-length", "0"))
        begin = end + len(_HEAD_END)
        if len(self._received) < begin + length:
            return
        body = bytes(self._received[begin : begin + length])
        del self._received[: begin + length]
        status, answer = self._jobs.answer(method, path, body)
        delay = 0.0 if path == "/counts" else self._delay
        self._waiting = asyncio.get_running_loop().call_later(delay, self._write, status, answer)

    def _write(self, status: int, body: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - it was made
        self._waiting = None
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: %d\r\n\r\n%b"
            % (_STATUSES[status], len(body), body)
        )
        self._read()


# ------------------------------------------------------------------------------------------------------------ its users


@dataclass(frozen=True)
class Answers:
    """What a caller that does nothing but ask got of the platform."""

    per_second: float
    median: float
    """Seconds."""
    p99: float
    """Seconds."""


@dataclass(frozen=True)
class Platform:
    """A platform that runs."""

    url: str
    pid: int

    def counts(self) -> Counts:
        """What it was asked so far."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=30) as answer:  # noqa: S310 - http, and our own
            return Counts(**json.load(answer))

    def asked_directly(self, *, connections: int, requests: int) -> Answers:
        """Ask for that many jobs with nothing between, over that many connections at once. It blocks.

        What a service adds is the difference to this; what this cannot do, no service can be seen to do.
        """
        times: list[float] = []
        began = time.perf_counter()
        uvloop.run(_asked(int(self.url.rpartition(":")[2]), connections, requests, times))
        seconds = time.perf_counter() - began
        return Answers(len(times) / seconds, median(times), quantiles(times, n=100)[-1])


async def _asked(port: int, connections: int, requests: int, times: list[float]) -> None:
    loop = asyncio.get_running_loop()
    left = iter(range(requests))
    asking = [
        (await loop.create_connection(lambda: _Asking(left, times), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    for each in asking:
        each.ask()
    for each in asking:
        await each.done


class _Asking(asyncio.Protocol):
    """One connection: a request, its answer, the next. It reads no more of an answer than where it ends."""

    def __init__(self, left: Iterator[int], times: list[float]) -> None:
        self._left = left
        self._times = times
        self._received = bytearray()
        self._began = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self) -> None:
        assert self._transport is not None  # noqa: S101 - it was made
        number = next(self._left, None)
        if number is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(
            b"GET /bigquery/v2/projects/example-project/jobs/direct-%d?location=EU HTTP/1.1\r\n"
            b"Host: 127.0.0.1\r\n\r\n" % number
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0 or len(self._received) < end + 4 + int(self._received[:end].rpartition(b": ")[2]):
            return
        if not self._received.startswith(b"HTTP/1.1 200 "):
            self.done.set_exception(RuntimeError(f"the platform answered {bytes(self._received[:30])!r}"))
            return
        self._times.append(time.perf_counter() - self._began)
        self._received.clear()
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the platform closed the connection"))


@contextmanager
def running(delay: float, *, cores: set[int] | None = None) -> Iterator[Platform]:
    """A platform as a process of its own. :param delay: seconds. :param cores: that it may use; None is all."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.platform", f"--delay={delay}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        if cores:
            os.sched_setaffinity(process.pid, cores)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield Platform(process.stdout.readline().strip(), process.pid)
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        process.stdout.close()


# ------------------------------------------------------------------------------------------------------------- process


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.platform", description=__doc__)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds for every answer (default: 0.1)")
    uvloop.run(_serve(parser.parse_args().delay))


async def _serve(delay: float) -> None:
    loop, jobs, end = asyncio.get_running_loop(), Jobs(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    server = await loop.create_server(lambda: Connection(jobs, delay), "127.0.0.1", 0, backlog=4_096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await end.wait()
    server.close()


if __name__ == "__main__":
    main()
