"""The connector in a server, called as a backend calls it."""

from __future__ import annotations

from typing import Any

import pytest
from connectors import Phase, TaskTemplate
from connectors.client import CallFailed
from connectors.testing.fixtures import Serve

from connectors_acme import (
    AcmeConfig,
    AcmeConnector,
    AcmeSettings,
)
from tests.fake_acme import FakeAcme

pytestmark = pytest.mark.anyio


def task(program: str = "count") -> TaskTemplate:
    config = AcmeConfig(program=program)
    return TaskTemplate("acme", custom=config.to_custom())


def connector(fake: FakeAcme) -> AcmeConnector:
    return AcmeConnector(AcmeSettings(endpoint=fake.url))


async def test_a_call_has_a_result(serve: Serve, fake: FakeAcme) -> None:
    async with (await serve(connector(fake))).client() as client:
        done = await client.do(task(), {"words": ["a", "b"]})
    assert done.phase is Phase.SUCCEEDED
    assert done.outputs == {"result": {"program": "count", "arguments": {"words": ["a", "b"]}}}


async def test_a_repeated_call_is_carried_out_once(serve: Serve, fake: FakeAcme) -> None:
    async with (await serve(connector(fake))).client() as client:
        for _ in range(2):
            await client.do(task(), idempotency_key="the-same")
    assert len(fake.results) == 1


@pytest.mark.parametrize(
    ("custom", "reason"),
    [
        ({}, "custom.program is missing"),
        ({"program": ""}, "custom.program"),
        ({"program": "count", "timeout": 0}, "custom.timeout"),
        ({"program": "count", "colour": "red"}, "custom.colour is not known"),
        ({"program": "fail"}, "it was told to fail"),
    ],
)
async def test_a_task_that_cannot_be_carried_out_is_refused_with_the_reason(
    serve: Serve, fake: FakeAcme, custom: dict[str, Any], reason: str
) -> None:
    async with (await serve(connector(fake))).client() as client:
        try:
            done = await client.do(TaskTemplate("acme", custom=custom))
        except CallFailed as refused:
            assert reason in refused.message
        else:
            assert done.phase is Phase.FAILED
            assert reason in done.message
    assert fake.results == {}


@pytest.mark.parametrize(
    "endpoint", ["api.example.com", "http://api.example.com", "https://", "https://me@api.example.com"]
)
def test_an_endpoint_that_the_token_must_not_go_to_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        AcmeSettings(endpoint=endpoint)
