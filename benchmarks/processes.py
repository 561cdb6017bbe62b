"""What processes use: of the processor, and of memory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["cpu_seconds", "is_waiting", "resident_bytes"]


def cpu_seconds(pids: Sequence[int]) -> float:
    """What processes used of the processor so far, in nanosecond steps, where ``/proc/PID/stat`` has steps of 10 ms.

    The clock of another process: https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html.
    """
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids) / 1e9


def resident_bytes(pids: Sequence[int]) -> int:
    """Of processes: https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def is_waiting(pid: int) -> bool:
    """Whether a process has nothing to do just now: it neither runs nor waits for the processor."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "S"
