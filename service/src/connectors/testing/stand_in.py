"""The frame of a stand-in that a plugin's tests write by hand, for what no emulator of its platform does: a real HTTP
server of this machine, and what it was asked.

It knows no jobs, states or credentials: those are the platform's. What answers get lost on the way is
:mod:`connectors.testing.faults`' part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

__all__ = ["Call", "StandIn"]


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    operation: str
    """As the stand-in calls it."""
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    """As the stand-in read it."""


class StandIn(ABC):
    """A server whose routes are its class's, on a free port of this machine.

    ::

    class FakeAcme(StandIn):
        def routes(self) -> Iterable[web.AbstractRouteDef]:
            return [web.post("/v1/jobs", self._create)]

        async def _create(self, request: web.Request) -> web.Response:
            self.note("create", request, await request.json())
            return web.json_response({"id": "job-1"})

    async with FakeAcme().serving() as acme:
        ...  # a connector calls acme.url
        assert acme.count("create") == 1
        assert acme.last("create").body == {"program": "count"}
    """

    def __init__(self) -> None:
        self.url = ""
        """Where it is served, without a slash at its end; "" until it is."""
        self.calls: list[Call] = []
        """What it was asked, in order."""

    @abstractmethod
    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What is served: ``web.get(path, handler)`` and the like."""

    def note(self, operation: str, request: web.Request, body: Any = None) -> None:
        """A request arrived: for :attr:`calls`."""
        self.calls.append(Call(operation, request.path, request.query, request.headers, body))

    def count(self, operation: str) -> int:
        """How often this was asked."""
        return sum(call.operation == operation for call in self.calls)

    def last(self, operation: str) -> Call:
        """The latest request for this.

        :raises LookupError: there was none.
        """
        for call in reversed(self.calls):
            if call.operation == operation:
                return call
        raise LookupError(f"nobody asked for {operation!r}")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve it on 127.0.0.1. An answer that is not ready at the end is never given."""
        app = web.Application()
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            yield self
        finally:
            await runner.cleanup()
