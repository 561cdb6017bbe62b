"""Requests of the connector that echoes its inputs, and how their answers are waited for."""

from __future__ import annotations

from typing import Any

import anyio

from connectors import Resource
from connectors._engine.engine import Engine
from connectors._engine.requests import Caller
from tests.engine.harness import create_request, job_request

__all__ = ["FLYTE2", "echo", "until_terminal"]

FLYTE2 = Caller("flyte2", secrets={"key": "fake-key"})


def echo(caller: Caller | None = None, **options: Any) -> Any:
    return create_request("echo", inputs={"v": 7}, caller=caller, **options)


async def until_terminal(engine: Engine, meta: bytes) -> Resource:
    while True:
        resource = await engine.get(job_request(meta, "echo", FLYTE2))
        if resource.phase.is_terminal:
            return resource
        await anyio.sleep(1)
