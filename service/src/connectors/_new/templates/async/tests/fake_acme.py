"""Acme's stand-in: a real HTTP server of this machine, whose jobs run nothing.

``python -m tests.fake_acme [PORT]`` serves it for trying the plugin out:
on port 8700 if no other is given.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

__all__ = ["FakeAcme"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeJob:
    """A job. One of the program ``fail`` fails, and one of ``hang`` goes on until it is cancelled."""

    id: str
    key: str
    request: dict[str, Any]
    state: str = "RUNNING"
    polls: int = 0
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    def shown(self) -> dict[str, Any]:
        """As the API has it."""
        job = {"id": self.id, "state": self.state, "created": self.created.isoformat()}
        if self.state == "SUCCEEDED":
            return {**job, "result": {"program": self.request["program"], "arguments": self.request["arguments"]}}
        return {**job, "message": "it was told to fail"} if self.state == "FAILED" else job


class FakeAcme:
    """Use it as an asynchronous context. A job is over at its second poll."""

    def __init__(self, *, port: int = 0, token: str = "an-invented-token") -> None:
        """:param port: 0 takes a free one. :param token: what callers must send."""
        self.token = token
        self.jobs: list[FakeJob] = []
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it is served, once it is."""
        return f"http://127.0.0.1:{self._port}"

    def of_key(self, key: str) -> list[FakeJob]:
        """The jobs that were made under an idempotency key."""
        return [job for job in self.jobs if job.key == key]

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._check_token])
        app.router.add_post("/v1/jobs", self._create)
        app.router.add_get("/v1/jobs/{id}", self._get)
        app.router.add_post("/v1/jobs/{id}/cancel", self._cancel)
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

    @web.middleware
    async def _check_token(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _refused(401, "the token is not the one that is needed")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.Response:
        body, key = await request.json(), request.headers.get("Idempotency-Key", "")
        for job in self.of_key(key):
            return web.json_response(job.shown())
        job = FakeJob(f"job-{len(self.jobs) + 1}", key, body)
        self.jobs.append(job)
        return web.json_response(job.shown(), status=201)

    async def _get(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if job is None:
            return _refused(404, "there is no such job")
        job.polls += 1
        if job.state == "RUNNING" and job.polls > 1 and job.request["program"] != "hang":
            job.state = "FAILED" if job.request["program"] == "fail" else "SUCCEEDED"
        return web.json_response(job.shown())

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if job is None:
            return _refused(404, "there is no such job")
        if job.state == "RUNNING":
            job.state = "CANCELLED"
        return web.json_response(job.shown())

    def _job(self, request: web.Request) -> FakeJob | None:
        return next((job for job in self.jobs if job.id == request.match_info["id"]), None)


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
