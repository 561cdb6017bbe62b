"""How long a server takes to answer its first health check, and what it holds in memory at rest.

    python -m benchmarks.startup --rounds 10

Each is started again and again, as a process of its own: this service without a plugin and with every one that is
installed, and the reference with its BigQuery plugin. In the same rounds the bare interpreter tells how fast the
machine is just then. The CPU time, of all its threads, user's and system's, depends less on what else it does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError, StreamTerminatedError

from benchmarks.line import Line
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.reference import server as reference
from demo.emulators import EmulatorError

__all__ = ["BARE", "EVERY_PLUGIN", "NO_PLUGIN", "Start", "lines", "measure", "served"]

_AT_REST = 1.0
"""Seconds after it was ready."""
_READY_WITHIN = 90.0  # seconds
_LOOK_EVERY = 0.002  # seconds
_CHECK = "/grpc.health.v1.Health/Check"
_COMMAND = Path(sys.executable).with_name("connectors")
BARE = "the bare interpreter, with asyncio"
NO_PLUGIN = "this service without a plugin"
EVERY_PLUGIN = "this service with every plugin"


@dataclass(frozen=True)
class Start:
    """One start of a server."""

    seconds: float
    """Until its health check is answered with SERVING."""
    cpu: float
    """Seconds, until then."""
    megabytes: float
    """Resident, at rest; of 10^6 bytes."""


def measure(rounds: int) -> tuple[dict[str, list[Start]], str]:
    """Every start, by what was started; and why the reference could not be, or "". It blocks."""
    starts: dict[str, Callable[[], Start]] = {
        BARE: _bare,
        NO_PLUGIN: partial(served, "--allow-plugins="),
        EVERY_PLUGIN: served,
    }
    missing = ""
    try:
        reference.install()
        starts[reference.REFERENCE] = _reference
        _reference()  # which compiles what is not compiled yet
    except (EmulatorError, RuntimeError) as reason:
        missing = str(reason)
        starts.pop(reference.REFERENCE, None)
    served()
    seen: dict[str, list[Start]] = {name: [] for name in starts}
    for _ in range(rounds):
        for name, start in starts.items():
            seen[name].append(start())
    return seen, missing


def lines(rounds: int) -> Sequence[Line]:
    """The two lines of the table."""
    seen, missing = measure(rounds)
    ours, theirs, alone, bare = seen[EVERY_PLUGIN], seen.get(reference.REFERENCE, []), seen[NO_PLUGIN], seen[BARE]
    return (
        Line(
            name="Start to the first health check answered, every plugin",
            unit="s",
            ours=tuple(each.seconds for each in ours),
            shown=tuple(each.seconds for each in theirs),
            beside=reference.REFERENCE,
            bound=0.6,
            aim=0.4,
            more_is_better=False,
            notes=(
                f"Without a plugin {median(each.seconds for each in alone):.2f} s; the bare interpreter with asyncio"
                f" {median(each.seconds for each in bare):.2f} s.",
                *([f"Not beside the reference: {missing}."] if missing else []),
            ),
        ),
        Line(
            name="Resident memory at rest, every plugin",
            unit="MB",
            ours=tuple(each.megabytes for each in ours),
            shown=tuple(each.megabytes for each in theirs),
            beside=f"{reference.REFERENCE}, BigQuery alone",
            bound=90.0,
            aim=65.0,
            more_is_better=False,
            notes=(
                f"Without a plugin {median(each.megabytes for each in alone):.0f} MB; the bare interpreter with asyncio"
                f" {median(each.megabytes for each in bare):.0f} MB.",
            ),
        ),
    )


# ------------------------------------------------------------------------------------------------------------ starting


def _bare() -> Start:
    program = "import asyncio; print(flush=True); input()"
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as interpreter:
        assert interpreter.stdin is not None and interpreter.stdout is not None  # noqa: S101, PT018 - pipes
        interpreter.stdout.readline()
        seconds, pids = time.perf_counter() - begin, [interpreter.pid]
        start = Start(seconds, cpu_seconds(pids), resident_bytes(pids) / 1e6)
        interpreter.stdin.write(b"\n")
    return start


def served(*arguments: str) -> Start:
    """``connectors serve`` with these flags, started and ended. :raises RuntimeError: it did not start."""
    # as an installed package is started: its code is compiled already
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CONNECTORS_", "COVERAGE", "PYTHONDONTWRITE"))
    }
    port = reference.free_port()
    with tempfile.TemporaryDirectory(prefix="connectors-bench-") as folder:
        begin = time.perf_counter()
        server = subprocess.Popen(
            [_COMMAND, "serve", f"--port={port}", "--metrics-port=0", "--store=memory://", *arguments],
            cwd=folder,
            env=kept,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return _started(server, port, begin)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _reference() -> Start:
    with tempfile.TemporaryDirectory(prefix="reference-") as folder:
        port = reference.free_port()
        begin = time.perf_counter()
        server = reference.start(port, Path(folder), [], {})
        try:
            return _started(server, port, begin)
        finally:
            reference.stop(server)


def _started(server: subprocess.Popen[bytes], port: int, begin: float) -> Start:
    asyncio.run(_serving(server, port))
    seconds, cpu = time.perf_counter() - begin, cpu_seconds([server.pid])
    time.sleep(_AT_REST)
    return Start(seconds, cpu, resident_bytes([server.pid]) / 1e6)


async def _serving(server: subprocess.Popen[bytes], port: int) -> None:
    """Return once a health check is answered with SERVING: https://grpc.io/docs/guides/health-checking/."""
    async with asyncio.timeout(_READY_WITHIN):
        while server.poll() is None:
            channel = Channel("127.0.0.1", port)
            check = UnaryUnaryMethod(channel, _CHECK, HealthCheckRequest, HealthCheckResponse)
            try:
                answer = await check(HealthCheckRequest())
                if answer.status == HealthCheckResponse.SERVING:
                    return
            except (OSError, GRPCError, StreamTerminatedError):
                pass
            finally:
                channel.close()
            await asyncio.sleep(_LOOK_EVERY)
    raise RuntimeError(f"the server ended with {server.returncode} before it was ready")


# ------------------------------------------------------------------------------------------------------------ printing


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="starts of each (default: 10)")
    rounds: int = parser.parse_args().rounds
    seen, missing = measure(rounds)
    print(
        "\nFrom the start of the process until its first health check is answered, in seconds: the median (the first to"
    )
    print(f"the last tenth), of which CPU time; resident memory {_AT_REST:g} s later. {rounds} rounds.")
    for name, starts in seen.items():
        took, used = ([getattr(each, what) for each in starts] for what in ("seconds", "cpu"))
        print(f"  {name:<36}{_spread(took)}  {_spread(used)}  {median(each.megabytes for each in starts):6.1f} MB")
    if missing:
        print(f"  not measured: {reference.REFERENCE}: {missing}")


def _spread(seconds: list[float]) -> str:
    tenths = quantiles(seconds, n=10) if len(seconds) > 1 else [*seconds] * 2
    return f"{median(seconds):6.3f} ({tenths[0]:.3f} to {tenths[-1]:.3f})"


if __name__ == "__main__":
    main()
