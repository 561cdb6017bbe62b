"""How many files and sockets the process may have open. A shell's 1,024 are fewer than a server may have connections,
and without one left no platform can be asked.
"""

from __future__ import annotations

import logging

__all__ = ["allow"]

log = logging.getLogger("connectors.server")

_OTHERS = 1_000
"""Descriptors for all that is neither a caller's connection nor a platform's: the store, metrics, files."""


def allow(connections: int, calls: int) -> None:
    """Raise the process's own bound (its soft limit) to what it needs, as far as the system lets it. Where that is not
    far enough, a warning says so.

    :param connections: of callers, at the most.
    :param calls: at once, at the most; each may have a connection to its platform.
    """
    try:
        import resource  # noqa: PLC0415 - there is none on Windows, nor such a bound
    except ImportError:
        return
    needed = connections + calls + _OTHERS
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
            "the process may have %d files and sockets open, and --max-connections %d with --concurrency %d needs %d: "
            "lower these or raise the other (ulimit -n)",
            most,
            connections,
            calls,
            needed,
        )
