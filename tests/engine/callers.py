"""Callers whose answers arrive, or do not; and what a connector of theirs may answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from connectors import Context, Phase, Resource
from connectors._engine.engine import Engine
from connectors._engine.requests import Caller
from connectors._stores import Record, Store, job_of
from tests.engine.harness import create_request


def hearing(heard: bool, *, deadline: float | None = None, secrets: Mapping[str, str] | None = None) -> Caller:
    """A caller whose answer left, or did not, when its call is over."""

    def on_answered(tell: Callable[[bool], None]) -> None:
        asyncio.get_running_loop().call_later(0.01, tell, heard)

    return Caller("flyte1", deadline=deadline, secrets=secrets or {}, on_answered=on_answered)


def in_seconds(seconds: float) -> Caller:
    """A caller that waits for so long from now on."""
    return Caller("flyte1", deadline=now() + seconds)


def raising(error: BaseException) -> Callable[[Context], Any]:
    def answer(ctx: Context) -> Any:
        raise error

    return answer


class Script:
    """Raises or returns one thing per call; the last one for ever."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    def __call__(self, ctx: Context) -> Any:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, BaseException):
            raise step
        return step


def being(phase: Phase, **more: Any) -> Callable[[Context], Any]:
    return lambda ctx: Resource(phase, **more)


async def slowly(seconds: float, phase: Phase = Phase.RUNNING) -> Resource:
    await anyio.sleep(seconds)
    return Resource(phase)


def now() -> float:
    """On the event loop's clock."""
    return asyncio.get_running_loop().time()


async def job_of_attempt(engine: Engine, attempt: int = 0, *, heard: bool = True) -> bytes:
    """Create a job; its meta."""
    request = create_request(prefix=f"s3://bucket/ex1/n0/{attempt}", caller=hearing(heard))
    return await engine.create(request)


async def record_of(store: Store, meta: bytes, task_type: str = "acme") -> Record:
    record = await store.find_job(job_of(task_type, 0, meta))
    assert record is not None
    return record
