"""Tells whoever wants to know of each request that is sent, and of how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from connectors._telemetry import Outgoing, RequestFault, current
from connectors.errors import DeadlineExceeded

__all__ = ["Watched", "watched"]


class Watched:
    """A request under way."""

    def __init__(self, outgoing: Outgoing | None) -> None:
        self._outgoing = outgoing
        self.status: int | None = None
        """To be set once there is a whole answer."""

    def headers(self, given: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """The headers to send: those of the trace, and those that are given, which win."""
        added = self._outgoing.headers if self._outgoing is not None else None
        if not added:
            return given
        taken = {name.lower() for name in given or ()}
        return {**{name: value for name, value in added.items() if name not in taken}, **(given or {})}


@contextmanager
def watched(method: str, scheme: str, host: str, port: int | None) -> Iterator[Watched]:
    """Within it, a request is sent and its answer read."""
    telemetry = current()
    outgoing = None if telemetry is None else telemetry.request(method, scheme, host, port)
    watch = Watched(outgoing)
    fault: RequestFault = "unreachable"
    try:
        yield watch
    except DeadlineExceeded:
        fault = "timeout"
        raise
    except asyncio.CancelledError:
        fault = "cancelled"
        raise
    finally:
        if outgoing is not None:
            outgoing.ended(status=watch.status, fault=None if watch.status is not None else fault)
