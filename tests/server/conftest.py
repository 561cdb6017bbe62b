from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.registry.distributions import write_distribution
from tests.server.processes import ServerProcess

Serve = Callable[..., ServerProcess]

# Each method says that it was entered by a file, and goes on once another file is there: tests decide what is in
# flight.
GATED = """
import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from connectors import AsyncConnectorBase, Phase, Resource, ResourceMeta, SyncConnectorBase

FOLDER = Path(os.environ["GATES"])

async def gate(name):
    (FOLDER / f"{name}.entered").touch()
    while not (FOLDER / name).exists():
        await asyncio.sleep(0.005)

@dataclass(frozen=True)
class Job(ResourceMeta):
    job_id: str

class Connector(AsyncConnectorBase[Job]):
    task_type = "gated"

    async def start(self, http):
        if "GATE_START" in os.environ:
            await gate("start")
        (FOLDER / "started").touch()

    async def aclose(self):
        (FOLDER / "closed").touch()

    async def create(self, task, ctx):
        await gate("create")
        (FOLDER / "created").touch()
        return Job(ctx.idempotency_key)

    async def get(self, job, ctx):
        await gate("get")
        return Resource(Phase.SUCCEEDED, outputs={})

    async def delete(self, job, ctx):
        pass

    async def get_metrics(self, job, ctx, **options):
        raise ValueError("a bug of this connector")
"""


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    folder = tmp_path / "gates"
    folder.mkdir()
    return folder


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    write_distribution(folder, "gated", textwrap.dedent(GATED))
    return folder


@pytest.fixture
def serve(plugins: Path, gates: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start servers; each is ended with the test."""
    running: list[ServerProcess] = []

    def start(*arguments: str, **variables: str) -> ServerProcess:
        server = ServerProcess(*arguments, plugins=plugins, cwd=tmp_path, variables={"GATES": str(gates), **variables})
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()
