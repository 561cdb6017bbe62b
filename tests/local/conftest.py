"""The fake platform, its connectors in each of the three ways in which a run can reach them, and tasks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from connectors import Interface, LiteralType, TaskTemplate
from connectors.local import Calls, InProcess, ThroughServer
from connectors.testing.platform import CONNECTORS, FakePlatform, Job, JobState, PlatformConnector, PlatformSettings
from connectors.testing.server import ConnectorServer
from tests.emulators.fixtures import s3_url
from tests.local.words import Echo, Silent, Talkative

__all__ = ["s3_url"]

TEXT = LiteralType("string")


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform() as platform:
        yield platform


def connectors_of(platform: FakePlatform) -> list[PlatformConnector | Echo | Silent]:
    return [*(kind(PlatformSettings(url=platform.url)) for kind in CONNECTORS.values()), Echo(), Silent(), Talkative()]


@pytest.fixture(params=["in process", "flyte1", "flyte2"])
async def via(request: pytest.FixtureRequest, platform: FakePlatform) -> AsyncIterator[Calls]:
    if request.param == "in process":
        async with InProcess(connectors=connectors_of(platform)) as calls:
            yield calls
        return
    async with (
        ConnectorServer(*connectors_of(platform)) as server,
        ThroughServer.at(server.address, protocol=request.param) as calls,
    ):
        yield calls


@pytest.fixture
async def in_process(platform: FakePlatform) -> AsyncIterator[InProcess]:
    async with InProcess(connectors=connectors_of(platform)) as calls:
        yield calls


def job_task(*, inline: bool = True, inputs: Any = None, outputs: Any = None, **custom: Any) -> TaskTemplate:
    """A task of the platform; its ``custom`` says how long its job takes, and how it ends."""
    declared = Interface(inputs or {}, {"o0": TEXT} if outputs is None else outputs)
    return TaskTemplate(f"platform_native{'' if inline else '_prefix'}", custom=custom, interface=declared)


def states(platform: FakePlatform) -> list[JobState]:
    """Of all jobs that were ever made."""
    return [job.state for job in platform.jobs()]


async def until(platform: FakePlatform, reached: Callable[[tuple[Job, ...]], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached(platform.jobs()):  # noqa: ASYNC110 - the platform tells nobody
            await asyncio.sleep(0.01)
