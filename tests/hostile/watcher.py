"""A caller that behaves, as a process of its own: asks for the server's health again and again, on one connection.

    python -m tests.hostile.watcher HOST:PORT PID [AUTHORITY]

Each answer is a line: how many seconds it took, as the server and this caller had the processor. What other processes
took from them is not counted: the kernel says how long each thread that was ready had to wait for its turn
(`/proc/PID/task/*/schedstat`), and on a busy machine that is most of it. Ends with its standard input.
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
    """Seconds in which the threads of a process were ready and had no processor."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((thread / "schedstat").read_text("ascii").split()[1])
        except FileNotFoundError:
            pass  # it has ended
    return total / 1e9


def channel(address: str, authority: str) -> grpc.Channel:
    """A connection of its own, with TLS where there is an authority for it."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not authority:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(authority).read_bytes()), options)


def main(address: str, pid: int, authority: str = "") -> None:
    stub: Any
    with channel(address, authority) as opened:
        stub = health_pb2_grpc.HealthStub(opened)
        while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
            began, lost = time.monotonic(), waited(pid) + waited(os.getpid())
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=GIVE_UP_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            lost = waited(pid) + waited(os.getpid()) - lost
            sys.stdout.write(f"{max(0.0, time.monotonic() - began - lost)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
