"""A caller that behaves, as a process of its own: asks for the server's health again and again, on one connection.

    python -m tests.hostile.watcher HOST:PORT PID [AUTHORITY]

Each answer is a line of two figures, in seconds. The second is what the clock says. The first is that, less what other
processes took: the kernel knows how long a thread that was ready had to wait for a processor (`/proc/PID/schedstat`),
and on a busy machine that is most of it. Two threads are asked, the one of the server's event loop and the one that
asks here, and the longer of their waits is taken off: both may have waited at once, so their sum could be more than was
lost. All else counts as the server's: its other threads, and whatever the loop did before it came to this call. Ends
with its standard input.
"""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["channel", "main"]

PAUSE_S = 0.05
GIVE_UP_S = 90.0


def waited(pid: int) -> float:
    """Seconds in which the first thread of a process was ready and had no processor: where the event loop runs."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) / 1e9


def channel(address: str, authority: str) -> grpc.Channel:
    """A connection of its own, with TLS where there is an authority for it."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not authority:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(authority).read_bytes()), options)


def main(address: str, pid: int, authority: str = "") -> None:
    stub: Any
    pids = pid, os.getpid()
    with channel(address, authority) as opened:
        stub = health_pb2_grpc.HealthStub(opened)
        while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
            began = time.monotonic()
            before = [waited(each) for each in pids]
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=GIVE_UP_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            lost = max(waited(each) - then for each, then in zip(pids, before, strict=True))
            took = time.monotonic() - began
            sys.stdout.write(f"{max(0.0, took - lost)} {took}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
