"""Services to be called: real HTTP servers on 127.0.0.1, or another address of this machine, that answer as they are
told.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Reply:
    """What the service says to one request."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_up: bool = False
    """The connection is closed in place of an answer."""
    hangs: bool = False
    """No answer until the caller goes, or the server ends."""

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> Reply:
        """JSON."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Reply:
        return cls(status, headers={"Location": location})


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    target: str
    """The path and the query, as they were sent."""
    headers: Mapping[str, str]
    body: bytes


class FakeService:
    """Answers with its replies in turn, then with 200 and no body."""

    def __init__(self) -> None:
        self.host = ""
        self.port = 0
        self.replies: deque[Reply] = deque()
        self.received: list[Received] = []

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://{self.place}"

    @property
    def place(self) -> str:
        """Host and port, as a URL holds them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def last(self) -> Received:
        return self.received[-1]

    def will_say(self, *replies: Reply) -> None:
        self.replies.extend(replies)

    @asynccontextmanager
    async def serving(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[FakeService]:
        server = web.Server(self._answer, handler_cancellation=True)
        runner = web.ServerRunner(server)
        await runner.setup()
        try:
            listening = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, reuse_port=False
            )
            self.host, self.port = host, listening.getsockname()[1]
            await web.SockSite(runner, listening).start()
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.received.append(Received(request.method, request.raw_path, request.headers.copy(), body))
        reply = self.replies.popleft() if self.replies else Reply()
        if reply.hangs:
            await asyncio.Event().wait()  # ended with the connection
        if reply.hangs_up:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
