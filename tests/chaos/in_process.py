"""A whole server on the test's own event loop, whose clock may be virtual: what takes hours in real time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from connectors._registry import Registered, Registry
from connectors._server.server import Server
from connectors._settings import Settings
from connectors.models import TaskCategory
from connectors.testing.platform import CONNECTORS, FakePlatform, PlatformSettings

__all__ = ["ServerInProcess", "server_in_process"]


@dataclass
class ServerInProcess:
    """It can be neither killed nor started again."""

    address: str

    async def ready(self) -> None:
        """It is."""

    async def kill_and_start(self) -> None:
        raise NotImplementedError("this server is a part of the test's process")

    async def end_and_start(self) -> int:
        raise NotImplementedError("this server is a part of the test's process")

    async def answered(self) -> int:
        raise NotImplementedError("this server's metrics are not read")

    async def close(self) -> None:
        """It ends with its context."""


@asynccontextmanager
async def server_in_process(platform: FakePlatform, **settings: Any) -> AsyncIterator[ServerInProcess]:
    """With the platform's connectors, and records in memory. :param settings: as :class:`Settings` has them."""
    registry = Registry(
        Registered(
            connector=kind(PlatformSettings(platform.url)),
            category=TaskCategory(task_type),
            plugin=task_type,
            distribution="tests",
            distribution_version="1",
            kind="async",
        )
        for task_type, kind in CONNECTORS.items()
    )
    server = Server(Settings(port=0, metrics_port=0, store="memory://", **settings), registry)
    try:
        yield ServerInProcess((await server.start()).grpc)
    finally:
        await server.aclose()
