"""The test kit as a plugin author has it: what it needs, and all its parts around a real server."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from connectors import TaskTemplate
from connectors.testing.backend import Backend, Mishaps, Protocol, distinct_tasks
from connectors.testing.platform import CONNECTORS, FakePlatform, Fault
from tests.chaos.servers import platform_plugins
from tests.server.processes import ServerProcess

pytestmark = pytest.mark.anyio

NOT_THERE = """
import sys
for name in ("pytest", "_pytest", "grpc", "flyteidl", "flyteidl2", "flytekit", "google.protobuf"):
    sys.modules[name] = None
import connectors.testing, connectors.testing.backend, connectors.testing.faults, connectors.testing.platform
import connectors.testing.server, connectors.testing.virtual_time
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"  # the server's process knows no virtual time


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    return platform_plugins(tmp_path)


def test_it_needs_nothing_that_the_service_does_not_need() -> None:
    subprocess.run([sys.executable, "-c", NOT_THERE], check=True, timeout=60)


@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_every_task_type_of_the_platform_runs_through_a_server_as_a_plugin(
    plugins: Path, tmp_path: Path, protocol: Protocol
) -> None:
    async with FakePlatform() as platform:
        urls = {f"CONNECTORS_{task_type.upper()}__URL": platform.url for task_type in CONNECTORS}
        with closing(ServerProcess("--store=memory://", plugins=plugins, cwd=tmp_path, variables=urls)) as server:
            tasks = [
                task
                for task_type in CONNECTORS
                for task in distinct_tasks(
                    2, TaskTemplate(task_type, custom={"pending": 0.1, "duration": 0.2}), execution=task_type
                )
            ]
            async with Backend([server.address], protocol=protocol, poll_interval=0.1) as backend:
                fates = await backend.run(tasks)
        assert Counter(fate.outcome for fate in fates) == {"succeeded": len(tasks)}
        assert [fate.failed_calls for fate in fates] == [()] * len(tasks)
        assert set(platform.by_task().values()) == {1}
        assert len(platform.jobs()) == len(tasks)
        written = {fate.task.template.type for fate in fates if fate.outputs is None}
        assert written == {name for name, kind in CONNECTORS.items() if not kind.results_inline}


async def test_answers_that_the_platform_and_the_backend_lose_make_no_second_job(plugins: Path, tmp_path: Path) -> None:
    async with FakePlatform(seed=3) as platform:
        platform.set_fault(Fault("lose", ("submit",), committed=True, probability=0.3))
        url = {"CONNECTORS_PLATFORM_NATIVE__URL": platform.url}
        options = ("--store=memory://", "--connector-attempts=12")  # 0.3 ** 12 of the creates fail
        with closing(ServerProcess(*options, plugins=plugins, cwd=tmp_path, variables=url)) as server:
            mishaps = Mishaps(lose_create_answer=0.3, send_twice=0.3)
            async with Backend([server.address], poll_interval=0.1, seed=3, mishaps=mishaps) as backend:
                fates = await backend.run(distinct_tasks(40, TaskTemplate("platform_native")))
        assert [fate for fate in fates if fate.outcome != "succeeded"] == []
        assert len(platform.jobs()) == 40
        ((_, lost),) = platform.faults()
        assert lost > 5
