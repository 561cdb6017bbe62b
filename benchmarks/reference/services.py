"""The two services, each as two server processes around a fake platform of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.reference.server import free_port
from connectors.testing.platform import CONNECTORS, FakePlatform
from demo.emulators import Recipe, environment_of
from tests.chaos.arena import Arena
from tests.chaos.servers import ServerUnderTest, ServiceProcess, platform_plugins

__all__ = ["REFERENCE_VERSION", "MakeArena", "ReferenceProcess", "install_reference", "reference", "this_service"]

T = TypeVar("T")
_HERE = Path(__file__).parent
_CONNECTOR = _HERE / "platform_connector.py"
_READY_TIMEOUT = 90.0  # seconds; it imports for some of them, on a machine that may be busy
_STOP_TIMEOUT = 10.0  # seconds between asking and ending
_ANSWERED = "flyte_connector_requests_success_total"


def _command(port: int, data: Path) -> list[str]:
    return ["pyflyte", "serve", "connector", "--port", str(port), "--modules", _CONNECTOR.stem]


_REFERENCE = Recipe(
    name="flytekit-connector",
    requirements=tuple((_HERE / "requirements.txt").read_text("utf-8").split()),
    command=_command,
)
(REFERENCE_VERSION,) = (each for each in _REFERENCE.requirements if each.startswith("flytekit=="))

MakeArena = Callable[..., AbstractAsyncContextManager[Arena]]
"""Of a folder and a seed; ``options`` are this service's flags, ``platform`` replaces the platform, and what else is
given is the arena's."""


def install_reference() -> Path:
    """The environment that the reference runs in; made the first time, which takes minutes. It blocks.

    :raises demo.emulators.EmulatorUnavailable: it cannot be installed here.
    """
    return environment_of(_REFERENCE)


@asynccontextmanager
async def this_service(
    folder: Path, seed: int, *, options: Sequence[str] = (), platform: FakePlatform | None = None, **more: Any
) -> AsyncIterator[Arena]:
    """``connectors serve`` twice, over one SQLite file. Its tasks are of the connectors that hand the platform their
    key, and of those that search it by the key, in turn.
    """
    plugins = platform_plugins(folder)
    async with platform or FakePlatform(seed=seed) as held:
        variables = {f"CONNECTORS_{task_type.upper()}__URL": held.url for task_type in CONNECTORS}
        store = f"--store=sqlite://{folder}/chaos.db"
        servers = [
            ServiceProcess(store, *options, plugins=plugins, folder=folder, variables=variables) for _ in range(2)
        ]
        async with _ending(servers):
            yield Arena(servers, held, seed, **more)


@asynccontextmanager
async def reference(
    folder: Path, seed: int, *, options: Sequence[str] = (), platform: FakePlatform | None = None, **more: Any
) -> AsyncIterator[Arena]:
    """``pyflyte serve connector`` twice. It has none of this service's flags, so ``options`` are not used."""
    shutil.copy(_CONNECTOR, folder)
    environment = await _in_thread(install_reference)
    async with platform or FakePlatform(seed=seed) as held:
        servers = [ReferenceProcess(environment, folder, held.url) for _ in range(2)]
        async with _ending(servers):
            # twice, so that there are as many tasks as this service has kinds of connectors
            yield Arena(servers, held, seed, task_types=("platform", "platform"), **more)


@asynccontextmanager
async def _ending(servers: Sequence[ServerUnderTest]) -> AsyncIterator[None]:
    try:
        for server in servers:
            await server.ready()
        yield
    finally:
        for server in servers:
            await server.close()


class ReferenceProcess:
    """``pyflyte serve connector`` with the platform's connector; see :class:`tests.chaos.servers.ServerUnderTest`.

    It listens on every address of the machine: the command has no flag for another.
    """

    def __init__(self, environment: Path, folder: Path, platform: str) -> None:
        """:param folder: where the connector's module is."""
        self._environment = environment
        self._folder = folder
        self._platform = platform
        self._port, self._metrics = free_port(), free_port()
        self._log = folder / f"reference-{self._port}.log"
        self._process = self._start()

    @property
    def address(self) -> str:
        """``host:port`` of gRPC."""
        return f"127.0.0.1:{self._port}"

    async def ready(self) -> None:
        """Return once it takes connections.

        :raises RuntimeError: it ended instead. :raises TimeoutError: it does not within 90 s.
        """
        async with asyncio.timeout(_READY_TIMEOUT):
            while True:
                if self._process.poll() is not None:
                    said = self._log.read_text("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
                    raise RuntimeError(f"the reference service did not start: {said[-1][:300]}")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return

    async def kill_and_start(self) -> None:
        """As ``kill -9``, then start it again at once."""
        self._process.kill()
        await _in_thread(self._process.wait)
        self._process = self._start()

    async def end_and_start(self) -> int:
        """SIGTERM, and start it again once it has ended; the exit code."""
        code = await self._end()
        self._process = self._start()
        return code

    async def answered(self) -> int:
        """How many calls it has answered well since it was started."""
        text = await _in_thread(lambda: _fetched(f"http://127.0.0.1:{self._metrics}/metrics"))
        families = text_string_to_metric_families(text)
        return int(sum(each.value for family in families for each in family.samples if each.name == _ANSWERED))

    async def close(self) -> None:
        """End it for good."""
        if self._process.poll() is None:
            await self._end()

    async def _end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        try:
            return await _in_thread(lambda: self._process.wait(_STOP_TIMEOUT))
        except subprocess.TimeoutExpired:
            self._process.kill()
            return await _in_thread(self._process.wait)

    def _start(self) -> subprocess.Popen[bytes]:
        program, *arguments = _command(self._port, self._folder)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLYTE"))}
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [self._environment / "bin" / program, *arguments, "--prometheus_port", str(self._metrics)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={**kept, "HOME": str(self._environment / "home"), "PLATFORM_URL": self._platform},
                start_new_session=True,  # Ctrl-C is for the comparison, which ends it in order
            )


def _fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http, and on this machine
        return str(answer.read().decode())


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
