"""How many files and sockets the process may have open. A shell's 1,024 are fewer than a server may have connections,
and without one left no platform can be asked.
"""

from __future__ import annotations

import logging

__all__ = ["allow"]

log = logging.getLogger("connectors.server")

_BESIDE_CALLERS = 1_000
"""Descriptors for all that is no caller's connection: platforms, the store, metrics, files."""


def allow(connections: int) -> None:
    """Raise the process's own bound (its soft limit) to what so many connections need, as far as the system lets it.
    Where that is not far enough, a warning says so.
    """
    try:
        import resource  # noqa: PLC0415 - there is none on Windows, nor such a bound
    except ImportError:
        return
    needed = connections + _BESIDE_CALLERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unbounded = resource.RLIM_INFINITY
    if soft == unbounded or soft >= needed:
        return
    most = needed if hard == unbounded else min(needed, hard)
    if most > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # macOS has a bound beside these two
            most = soft
    if most < needed:
        log.warning(
            "the process may have %d files and sockets open, and --max-connections %d needs %d: lower the one or raise "
            "the other (ulimit -n)",
            most,
            connections,
            needed,
        )
