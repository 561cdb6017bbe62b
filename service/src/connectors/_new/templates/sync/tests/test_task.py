"""The task, run in this process and through a server."""

from __future__ import annotations

import pytest
from connectors import ConnectorError
from connectors.local import InProcess, RunOptions, TaskFailed, ThroughServer
from connectors.testing.fixtures import Serve

from connectors_acme import (
    AcmeConfig,
    AcmeConnector,
    AcmeSettings,
    AcmeTask,
)
from tests.fake_acme import FakeAcme

pytestmark = pytest.mark.anyio

RESULT = {"program": "count", "arguments": {"words": ["a", "b"]}}


def task(program: str, local_run: RunOptions) -> AcmeTask:
    return AcmeTask(
        program,
        AcmeConfig(program=program),
        inputs={"words": list[str]},
        local_run=local_run,
    )


def connector(fake: FakeAcme) -> AcmeConnector:
    return AcmeConnector(AcmeSettings(endpoint=fake.url))


def in_process(fake: FakeAcme) -> RunOptions:
    return RunOptions(via=lambda: InProcess(connectors=[connector(fake)]))


async def test_a_task_returns_its_result(fake: FakeAcme) -> None:
    assert await task("count", in_process(fake)).run(words=["a", "b"]) == RESULT


async def test_a_server_makes_no_difference(serve: Serve, fake: FakeAcme) -> None:
    server = await serve(connector(fake))
    local_run = RunOptions(via=lambda: ThroughServer.at(server.address))
    assert await task("count", local_run).run(words=["a", "b"]) == RESULT


async def test_a_task_that_fails_raises_what_the_platform_says(fake: FakeAcme) -> None:
    with pytest.raises((ConnectorError, TaskFailed), match="it was told to fail"):
        await task("fail", in_process(fake)).run(words=[])
