"""The connector in a server, called as a backend calls it."""

from __future__ import annotations

from typing import Any

import pytest
from connectors import Phase, TaskCategory, TaskTemplate
from connectors.client import CallFailed
from connectors.testing.fixtures import Serve

from connectors_acme import (
    AcmeConfig,
    AcmeConnector,
    AcmeSettings,
)
from tests.fake_acme import FakeAcme

pytestmark = pytest.mark.anyio

CATEGORY = TaskCategory("acme")


def task(program: str = "count") -> TaskTemplate:
    config = AcmeConfig(program=program)
    return TaskTemplate("acme", custom=config.to_custom())


def connector(fake: FakeAcme) -> AcmeConnector:
    return AcmeConnector(AcmeSettings(endpoint=fake.url))


async def test_a_job_runs_to_its_result(serve: Serve, fake: FakeAcme) -> None:
    async with (await serve(connector(fake))).client() as client:
        meta = await client.create(task(), {"words": ["a", "b"]})
        first, second = [await client.get(CATEGORY, meta) for _ in range(2)]
    assert (first.phase, second.phase) == (Phase.RUNNING, Phase.SUCCEEDED)
    assert second.outputs == {"result": {"program": "count", "arguments": {"words": ["a", "b"]}}}


async def test_a_job_that_fails_says_why(serve: Serve, fake: FakeAcme) -> None:
    async with (await serve(connector(fake))).client() as client:
        meta = await client.create(task("fail"))
        _, failed = [await client.get(CATEGORY, meta) for _ in range(2)]
    assert (failed.phase, failed.message) == (Phase.FAILED, "it was told to fail")


async def test_a_delete_cancels_the_job(serve: Serve, fake: FakeAcme) -> None:
    async with (await serve(connector(fake))).client() as client:
        await client.delete(CATEGORY, await client.create(task("hang")))
    assert [job.state for job in fake.jobs] == ["CANCELLED"]


async def test_a_repeated_create_makes_one_job(serve: Serve, fake: FakeAcme) -> None:
    server = await serve(connector(fake))
    async with server.client() as client:
        metas = {await client.create(task(), idempotency_key="the-same") for _ in range(2)}
    assert (len(metas), len(fake.jobs)) == (1, 1)


@pytest.mark.parametrize(
    ("custom", "reason"),
    [
        ({}, "custom.program is missing"),
        ({"program": ""}, "custom.program"),
        ({"program": "count", "timeout": 0}, "custom.timeout"),
        ({"program": "count", "colour": "red"}, "custom.colour is not known"),
    ],
)
async def test_a_task_that_cannot_be_run_is_refused_with_the_reason(
    serve: Serve, fake: FakeAcme, custom: dict[str, Any], reason: str
) -> None:
    async with (await serve(connector(fake))).client() as client:
        with pytest.raises(CallFailed, match=reason):
            await client.create(TaskTemplate("acme", custom=custom))
    assert fake.jobs == []


@pytest.mark.parametrize(
    "endpoint", ["api.example.com", "http://api.example.com", "https://", "https://me@api.example.com"]
)
def test_an_endpoint_that_the_token_must_not_go_to_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        AcmeSettings(endpoint=endpoint)
