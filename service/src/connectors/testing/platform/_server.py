"""The platform over HTTP.

Its callers use ``POST /jobs``, ``GET /jobs/{id}``, ``POST /jobs/{id}/cancel`` and ``GET /jobs?key=``; tests in another
process also ``GET /_jobs``, ``POST /_jobs/{id}/end``, ``GET``, ``POST`` and ``DELETE /_faults`` and ``POST /_age``,
which no fault meets and which need no token.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from connectors.testing.faults import FaultScript
from connectors.testing.platform._faults import Fault, Operation
from connectors.testing.platform._jobs import Job, Jobs, JobState, Submission

__all__ = ["FakePlatform"]

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakePlatform:
    """A job platform on a port of this machine. Use it as an asynchronous context."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, token: str = "", seed: int = 0, cancel_takes: float = 0.0
    ) -> None:
        """:param port: 0 takes a free one. :param token: what callers must send as ``Authorization: Bearer``; "": no
        caller is refused. :param seed: of the faults' draws. :param cancel_takes: how long a cancelled job is
        CANCELLING, in seconds.
        """
        self.token = token
        """May be changed at any time, as by a rotation."""
        self.requests: Counter[Operation] = Counter()
        """How many came, whatever became of them."""
        self._host, self._port = host, port
        self._began = 0.0
        self._jobs = Jobs(self._now, cancel_takes=cancel_takes)
        self._faults: FaultScript[Fault] = FaultScript(self._now, seed)
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        app = web.Application()
        app.add_routes(
            [
                web.post("/jobs", self._submit),
                web.get("/jobs", self._list),
                web.get("/jobs/{id}", self._get),
                web.post("/jobs/{id}/cancel", self._cancel),
                web.get("/_jobs", self._show_jobs),
                web.post("/_jobs/{id}/end", self._end_job),
                web.get("/_faults", self._show_faults),
                web.post("/_faults", self._add_faults),
                web.delete("/_faults", self._clear_faults),
                web.post("/_age", self._age_jobs),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it is served, once it is."""
        return f"http://{self._host}:{self._port}"

    # --- what tests ask, and tell it

    def jobs(self, *, key: str | None = None, task: str | None = None) -> tuple[Job, ...]:
        """All jobs that were ever made, in that order; those of a key, or of a task."""
        return self._jobs.all(key=key, task=task)

    def by_key(self) -> Counter[str]:
        """How many jobs each key made."""
        return Counter(job.key for job in self.jobs())

    def by_task(self) -> Counter[str]:
        """How many jobs each task made."""
        return Counter(job.task for job in self.jobs())

    def at_once(self) -> Counter[str]:
        """How many jobs each task had at the same time, at the most. One that was asked to be cancelled is not
        counted from then on.
        """
        return self._jobs.at_once()

    def wrote(self, output_prefix: str) -> bool:
        """Whether a job wrote its results there."""
        return any(
            job.output_prefix == output_prefix and job.state is JobState.SUCCEEDED
            for job in self.jobs()
            if output_prefix
        )

    def set_fault(self, *faults: Fault) -> None:
        """From now on, after those that are set already."""
        for fault in faults:
            self._faults.add(fault)

    def clear_faults(self) -> None:
        """None from now on; requests that hang go on hanging to the end of their fault."""
        self._faults.clear()

    def faults(self) -> list[tuple[Fault, int]]:
        """Those that are set, and how many requests each has met."""
        return self._faults.hits()

    def end(self, job: str, state: JobState = JobState.SUCCEEDED) -> None:
        """End a job now, whatever its duration.

        :raises KeyError: there is no such job. :raises ValueError: the state is not one that a job ends in.
        """
        self._jobs.end(job, state)

    def forget(self, job: str) -> None:
        """Have a job be no more, nor its key: what the platform no longer keeps.

        :raises KeyError: there is no such job.
        """
        self._jobs.forget(job)

    def age(self, seconds: float) -> None:
        """Have every job so far be that much older by the wall clock (``created``)."""
        self._jobs.age(seconds)

    # --- for callers

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        try:
            submission = Submission.from_json(await request.json())
        except (ValueError, TypeError) as error:
            return _refused(400, str(error))

        def commit() -> web.Response:
            job, repeated = self._jobs.submit(submission)
            if repeated and submission.dedupe == "conflict":
                return web.json_response({"error": "the key has a job", "job": job.as_json()}, status=409)
            return web.json_response({"repeated": repeated, "job": job.as_json()}, status=200 if repeated else 201)

        return await self._answer(request, "submit", submission.key, commit)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return await self._about_job(request, "get", self._jobs.get)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        return await self._about_job(request, "cancel", self._jobs.cancel)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("key")

        def commit() -> web.Response:
            return web.json_response({"jobs": [job.as_json() for job in reversed(self._jobs.all(key=key))]})

        return await self._answer(request, "list", key or "", commit)

    async def _about_job(
        self, request: web.Request, operation: Operation, act: Callable[[str], Job | None]
    ) -> web.StreamResponse:
        known = self._jobs.get(request.match_info["id"])

        def commit() -> web.Response:
            job = act(request.match_info["id"])
            return _refused(404, "there is no such job") if job is None else web.json_response({"job": job.as_json()})

        return await self._answer(request, operation, known.key if known is not None else "", commit)

    async def _answer(
        self, request: web.Request, operation: Operation, key: str, commit: Callable[[], web.Response]
    ) -> web.StreamResponse:
        self.requests[operation] += 1
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _refused(401, "the token is not the one that is needed")
        delay, fault, until = self._faults.meet(lambda each: each.is_for(operation, key), drawn_by=(operation, key))
        if delay:
            await self._wait(delay)
        if fault is None:
            return commit()
        if fault.committed or fault.action == "state":
            answer = commit()
            if fault.action == "state" and answer.status < 400:
                return _shown_in(answer, fault.state)
        if fault.action == "answer":
            return _refused(fault.status, "a fault that was asked for", retry_after=fault.retry_after)
        if fault.action == "hang":
            await self._wait(None if until is None else until - self._now())
        return _dropped(request)

    async def _wait(self, seconds: float | None) -> None:
        """Not beyond the platform's own end."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    # --- for tests in another process

    async def _show_jobs(self, request: web.Request) -> web.StreamResponse:
        jobs = [job.history() for job in self.jobs(key=request.query.get("key"), task=request.query.get("task"))]
        return web.json_response({"jobs": jobs, "at_once": dict(self.at_once()), "requests": dict(self.requests)})

    async def _end_job(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json() if request.can_read_body else {}
            self.end(request.match_info["id"], JobState(body.get("state", JobState.SUCCEEDED)))
        except KeyError:
            return _refused(404, "there is no such job")
        except ValueError as error:
            return _refused(400, str(error))
        return web.json_response({})

    async def _show_faults(self, request: web.Request) -> web.StreamResponse:
        shown = [{**vars(fault), "operations": list(fault.operations), "hits": hits} for fault, hits in self.faults()]
        return web.json_response({"faults": shown})

    async def _add_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
            faults = [Fault.from_json(each) for each in (body if isinstance(body, list) else [body])]
        except (ValueError, TypeError) as error:
            return _refused(400, str(error))
        self.set_fault(*faults)
        return web.json_response({})

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self.clear_faults()
        return web.json_response({})

    async def _age_jobs(self, request: web.Request) -> web.StreamResponse:
        try:
            self.age(float((await request.json())["seconds"]))
        except (ValueError, TypeError, KeyError):
            return _refused(400, "seconds, a number, is needed")
        return web.json_response({})

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began


def _refused(status: int, message: str, *, retry_after: str = "") -> web.Response:
    headers = {"Retry-After": retry_after} if retry_after else None
    return web.json_response({"error": message}, status=status, headers=headers)


def _shown_in(answer: web.Response, state: str) -> web.Response:
    body: Any = json.loads(answer.text or "{}")
    for job in body.get("jobs") or [body["job"]]:
        job["state"] = state
    return web.json_response(body, status=answer.status)


def _dropped(request: web.Request) -> web.StreamResponse:
    """The connection is reset; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
