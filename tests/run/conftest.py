"""The command as a process, the platform that it makes jobs on, and servers that it may go through."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.testing.platform import FakePlatform, NativeConnector, PlatformSettings
from connectors.testing.server import ConnectorServer
from tests.emulators.fixtures import crucible_url
from tests.registry.distributions import write_distribution
from tests.run import chatty

__all__ = ["Command", "Done", "Place", "WriteTask", "crucible_url"]

_COMMAND = Path(sys.executable).with_name("connectors")
_BOUND_S = 60.0

WriteTask = Callable[..., Path]
"""Writes a task's file; returns its path."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """``connectors``, in a folder of its own and with no setting of the surroundings."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.path = _COMMAND
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTORS_")}
        self.variables = {**kept, "COLUMNS": "200", "NO_PROXY": "127.0.0.1", **variables}

    async def start(self, *arguments: str | Path) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.path,
            *arguments,
            cwd=self.folder,
            env=self.variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ended(self, process: asyncio.subprocess.Process) -> Done:
        try:
            out, err = await asyncio.wait_for(process.communicate(), _BOUND_S)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    async def __call__(self, *arguments: str | Path) -> Done:
        return await self.ended(await self.start(*arguments))


@dataclass(frozen=True)
class Place:
    """Where the command's calls go."""

    name: str
    flags: tuple[str, ...]


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    source = "from connectors.testing.platform import NativeConnector\n"
    write_distribution(folder, "platform", source, entry_points={"platform": "NativeConnector"})
    names = {"chatty": "ChattyConnector", "echo": "EchoConnector"}
    write_distribution(folder, "chatty", Path(chatty.__file__).read_text("utf-8"), entry_points=names)
    return folder


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform() as platform:
        yield platform


@pytest.fixture
async def server(platform: FakePlatform) -> AsyncIterator[ConnectorServer]:
    connectors = NativeConnector(PlatformSettings(platform.url)), chatty.ChattyConnector(), chatty.EchoConnector()
    async with ConnectorServer(*connectors) as server:
        yield server


@pytest.fixture(params=["here", "flyte1", "flyte2"])
def place(request: pytest.FixtureRequest, server: ConnectorServer) -> Place:
    """In process, and through a server over either protocol."""
    return _place(request.param, server)


@pytest.fixture(params=["here", "flyte2"])
def either(request: pytest.FixtureRequest, server: ConnectorServer) -> Place:
    """Likewise, for what does not depend on the protocol."""
    return _place(request.param, server)


def _place(name: str, server: ConnectorServer) -> Place:
    return Place(name, () if name == "here" else ("--endpoint", server.address, "--protocol", name))


@pytest.fixture
def command(tmp_path: Path, plugins: Path, platform: FakePlatform) -> Command:
    variables = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")])),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        # whatever else is installed beside the project is not part of these tests
        "CONNECTORS_ALLOW_PLUGINS": "platform,chatty,echo,bigquery",
        "CONNECTORS_PLATFORM__URL": platform.url,
    }
    return Command(tmp_path, variables)


@pytest.fixture
def write_task(tmp_path: Path) -> WriteTask:
    def write(task_type: str = "platform_native", **parts: Any) -> Path:
        path = tmp_path / "task.json"
        path.write_text(json.dumps({"type": task_type, **parts}), "utf-8")
        return path

    return write
