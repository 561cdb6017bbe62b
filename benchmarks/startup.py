"""``make bench``: how long the server takes to be ready, and what it holds in memory at rest.

It is started again and again, each time as a process of its own: without a plugin, then with every one that is
installed. Beside it, in the same rounds, the bare interpreter tells how fast the machine is just then. The CPU time, of
all its threads, user's and system's, depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

READY_TARGET, MEMORY_TARGET = 0.6, 90.0
"""Seconds, and megabytes of 10^6 bytes, with every plugin."""
_AT_REST = 1.0
"""Seconds after it was ready."""
_COMMAND = Path(sys.executable).with_name("connectors")
_BARE = "the bare interpreter, with asyncio"


@dataclass(frozen=True)
class _Start:
    seconds: float
    cpu: float
    """Seconds."""
    megabytes: float


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="starts of each (default: 10)")
    rounds: int = parser.parse_args().rounds
    servers = {"the server without a plugin": ["--allow-plugins="], "the server with every plugin": []}
    seen: dict[str, list[_Start]] = {_BARE: [], **{name: [] for name in servers}}
    _served([])  # which compiles what is not compiled yet
    for _ in range(rounds):
        seen[_BARE].append(_bare())
        for name, arguments in servers.items():
            seen[name].append(_served(arguments))
    print("\nFrom the start of the process until it serves, in seconds: the median (the first to the last tenth), of")
    print(f"which CPU time; resident memory {_AT_REST:g} s later. {rounds} rounds.")
    for name, starts in seen.items():
        took, used = ([getattr(each, what) for each in starts] for what in ("seconds", "cpu"))
        print(f"  {name:<36}{_spread(took)}  {_spread(used)}  {_memory(starts):6.1f} MB")
    last = seen["the server with every plugin"]
    ready = "met" if median(each.seconds for each in last) <= READY_TARGET else "missed"
    small = "met" if _memory(last) <= MEMORY_TARGET else "missed"
    print(f"  targets, with every plugin: {READY_TARGET:g} s: {ready}; {MEMORY_TARGET:g} MB: {small}")


def _bare() -> _Start:
    program = "import asyncio, time; print(time.process_time(), open('/proc/self/statm').read())"
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begin
    cpu, _, statm = done.stdout.partition(" ")
    return _Start(seconds, float(cpu), _resident(statm))


def _served(arguments: list[str]) -> _Start:
    # as an installed package is started: its code is compiled already
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CONNECTORS_", "PYTHONDONTWRITE"))
    }
    with tempfile.TemporaryDirectory(prefix="connectors-bench-") as folder:
        begin = time.perf_counter()
        server = subprocess.Popen(
            [_COMMAND, "serve", "--port=0", "--metrics-port=0", "--store=memory://", *arguments],
            cwd=folder,
            env=kept,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stderr is not None  # noqa: S101 - it is a pipe
            if not any("event=ready" in line for line in server.stderr):
                raise SystemExit("the server ended before it was ready")
            seconds, cpu = time.perf_counter() - begin, _cpu(server.pid)
            time.sleep(_AT_REST)
            return _Start(seconds, cpu, _resident(Path(f"/proc/{server.pid}/statm").read_text("ascii")))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _cpu(pid: int) -> float:
    """Seconds so far, in steps of 10 ms: utime and stime of https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    after_name = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _resident(statm: str) -> float:
    """Megabytes: https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html."""
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _memory(starts: list[_Start]) -> float:
    return median(each.megabytes for each in starts)


def _spread(seconds: list[float]) -> str:
    tenths = quantiles(seconds, n=10)
    return f"{median(seconds):6.3f} ({tenths[0]:.3f} to {tenths[-1]:.3f})"


if __name__ == "__main__":
    main()
