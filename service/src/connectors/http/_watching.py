"""Tells whoever wants to know of each request that is sent, and of how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from connectors._telemetry import Outgoing, RequestFault, current
from connectors.errors import DeadlineExceeded

__all__ = ["WatchedRequest", "watched_request"]


class WatchedRequest:
    """A request under way."""

    def __init__(self, outgoing: Outgoing | None) -> None:
        """Made by :func:`watched_request`."""
        self._outgoing = outgoing
        self.status: int | None = None
        """To be set once there is a whole answer; of one that is read as it arrives, once its head is there."""
        self.fault: RequestFault = "unreachable"
        """Why there is none, where what is raised does not say it: ``timeout``, ``unreachable`` or ``cancelled``."""

    def headers(self, given: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """The headers to send: those of the trace, and those that are given, which win."""
        added = self._outgoing.headers if self._outgoing is not None else None
        if not added:
            return given
        taken = {name.lower() for name in given or ()}
        return {**{name: value for name, value in added.items() if name not in taken}, **(given or {})}


@contextmanager
def watched_request(method: str, scheme: str, host: str, port: int | None) -> Iterator[WatchedRequest]:
    """Have a request to a platform counted, and be a part of the call's trace.

    Within it the request is sent and its answer read. :class:`HttpClient` does so itself: this is for an SDK's client::

        with watched_request("GET", "https", "api.example.com", None) as watch:
            answer = await sdk.get(path, headers=watch.headers(own))
            watch.status = answer.status

    Neither path nor query is asked for: either may hold a secret. Outside of a connector's call nobody is told.
    """
    telemetry = current()
    outgoing = None if telemetry is None else telemetry.request(method, scheme, host, port)
    watch = WatchedRequest(outgoing)
    try:
        yield watch
    except (DeadlineExceeded, TimeoutError):
        watch.fault = "timeout"
        raise
    except asyncio.CancelledError:
        watch.fault = "cancelled"
        raise
    finally:
        if outgoing is not None:
            outgoing.ended(status=watch.status, fault=None if watch.status is not None else watch.fault)
