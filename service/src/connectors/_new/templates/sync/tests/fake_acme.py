"""Acme's stand-in: a real HTTP server of this machine.

``python -m tests.fake_acme [PORT]`` serves it for trying the plugin out:
on port 8700 if no other is given.
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Any, Self

from aiohttp import web

__all__ = ["FakeAcme"]


class FakeAcme:
    """Use it as an asynchronous context. The program ``fail`` is refused; the result of any other is what came."""

    def __init__(self, *, port: int = 0, token: str = "an-invented-token") -> None:
        """:param port: 0 takes a free one. :param token: what callers must send."""
        self.token = token
        self.results: dict[str, Any] = {}
        """By idempotency key."""
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it is served, once it is."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/calls", self._call)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _call(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _refused(401, "the token is not the one that is needed")
        body, key = await request.json(), request.headers.get("Idempotency-Key", "")
        if body["program"] == "fail":
            return _refused(400, "it was told to fail")
        result = {"program": body["program"], "arguments": body["arguments"]}
        return web.json_response({"result": self.results.setdefault(key, result)})


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


async def _serve(port: int = 8700) -> None:
    async with FakeAcme(port=port) as fake:
        print(f"listening on {fake.url}; the token is {fake.token}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_serve(*map(int, sys.argv[1:])))
    except KeyboardInterrupt:
        pass
