"""What a connector tells of a job beside its phase, ``custom_info``, through a whole server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from connectors import AsyncConnectorBase, Context, Phase, Resource, ResourceMeta, TaskCategory, TaskTemplate
from connectors.testing.server import ConnectorServer

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Job(ResourceMeta):
    name: str


class Telling(AsyncConnectorBase[Job]):
    task_type = "telling"
    facts: Any = None

    async def create(self, task: TaskTemplate, ctx: Context) -> Job:
        return Job("j")

    async def get(self, job: Job, ctx: Context) -> Resource:
        return Resource(Phase.SUCCEEDED, custom_info=self.facts)

    async def delete(self, job: Job, ctx: Context) -> None:
        pass


async def polled(facts: Any) -> Resource:
    connector = Telling()
    connector.facts = facts
    async with ConnectorServer(connector) as server, server.client() as client:
        return await client.get(TaskCategory("telling"), Job("j").encode())


@pytest.mark.parametrize(
    "facts",
    [
        {"text": "t", "whole": 2**53, "part": 0.5, "true": True, "none": None},
        {"ä": "ö", "nested": {"list": [1, "two", {"three": 3}]}},
        {},
    ],
    ids=["flat", "nested", "none"],
)
async def test_facts_arrive_as_they_were_told(facts: dict[str, Any]) -> None:
    resource = await polled(facts)
    assert (resource.phase, resource.custom_info) == (Phase.SUCCEEDED, facts)


@pytest.mark.parametrize(
    "facts",
    [{"n": 2**53 + 1}, {"n": float("nan")}, {1: "one"}, {"nested": {"n": {1}}}, "no mapping"],
    ids=["too large", "no number", "no name", "no JSON", "no mapping"],
)
async def test_facts_that_cannot_be_written_are_a_hidden_bug(facts: Any) -> None:
    assert (await polled(facts)).phase is Phase.RUNNING
