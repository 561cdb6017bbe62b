"""The servers that chaos happens to: processes with an address that they keep, whatever becomes of them."""

from __future__ import annotations

import asyncio
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from connectors.testing.platform import CONNECTORS
from tests.registry.distributions import write_distribution
from tests.server.processes import ServerProcess

__all__ = ["ServerUnderTest", "ServiceProcess", "platform_plugins"]

T = TypeVar("T")
_ANSWERED = "flyte_connector_requests_success_total"


class ServerUnderTest(Protocol):
    """What a scenario needs of a server. Any that speaks Flyte's protocol can be put into its place."""

    @property
    def address(self) -> str:
        """``host:port`` of gRPC: the same for as long as the test lasts."""
        ...

    async def ready(self) -> None:
        """Return once it serves."""
        ...

    async def kill_and_start(self) -> None:
        """As ``kill -9``, then start it again at once; does not wait until it serves."""
        ...

    async def end_and_start(self) -> int:
        """As a rollout does: SIGTERM, and once the process has ended, start it again; the exit code. Does not wait
        until it serves.
        """
        ...

    async def answered(self) -> int:
        """How many calls it has answered well since it was started."""
        ...

    async def close(self) -> None:
        """End it for good: SIGTERM, so that it finishes what it has begun."""
        ...


def platform_plugins(folder: Path) -> Path:
    """The fake platform's connectors as a server's plugins, in a new folder below ``folder``."""
    plugins = folder / "plugins"
    plugins.mkdir()
    names = {task_type: kind.__name__ for task_type, kind in CONNECTORS.items()}
    source = f"from connectors.testing.platform import {', '.join(names.values())}\n"
    write_distribution(plugins, "platform", source, entry_points=names)
    return plugins


class ServiceProcess:
    """``connectors serve``, with the platform's connectors as its plugins."""

    def __init__(self, *options: str, plugins: Path, folder: Path, variables: Mapping[str, str]) -> None:
        self._options = options
        self._start = partial(ServerProcess, plugins=plugins, cwd=folder, variables=dict(variables))
        self._process = self._start(*options)
        self._address = ""
        self._pids = {self._process.pid}

    @property
    def address(self) -> str:
        assert self._address, "the server was not ready yet"
        return self._address

    @property
    def starts(self) -> int:
        """How often it was started."""
        return len(self._pids)

    def logged(self, **fields: object) -> int:
        """How many lines with these fields the present process has logged so far."""
        return sum(fields.items() <= line.items() for line in self._process.lines)

    def complaints(self) -> str:
        """What the present process has logged as a warning or worse."""
        lines = (line for line in self._process.lines if line.get("level", "info") not in {"debug", "info"})
        return "".join(f"{line}\n" for line in lines)

    async def ready(self) -> None:
        self._address = await _in_thread(lambda: self._process.address)

    async def kill_and_start(self) -> None:
        await _in_thread(self._process.close)
        self._start_again()

    async def end_and_start(self) -> int:
        code = await self._end()
        self._start_again()
        return code

    async def answered(self) -> int:
        families = text_string_to_metric_families((await self._page("/metrics"))[1])
        return int(sum(each.value for family in families for each in family.samples if each.name == _ANSWERED))

    async def readiness(self) -> tuple[int, str]:
        """What ``/readyz`` answers."""
        return await self._page("/readyz")

    async def close(self) -> None:
        if self._process.is_running():
            await self._end()
        await _in_thread(self._process.close)

    async def _end(self) -> int:
        self._process.send(signal.SIGTERM)
        return await _in_thread(self._process.wait)

    def _start_again(self) -> None:
        self._process.close()
        self._process = self._start(*self._options, f"--port={self.address.rpartition(':')[2]}")
        self._pids.add(self._process.pid)

    async def _page(self, path: str) -> tuple[int, str]:
        return await _in_thread(lambda: _fetched(self._process.metrics + path))


def _fetched(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http, and our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
