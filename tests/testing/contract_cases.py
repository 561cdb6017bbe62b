"""The fake platform's connectors as the contract suite wants them told, and a sync one beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from connectors import (
    Context,
    InvalidRequest,
    Phase,
    Resource,
    SyncConnectorBase,
    TaskTemplate,
    Unavailable,
    error_for_status,
)
from connectors.testing.contract import AsyncCase, AsyncConnectorContract, SyncCase, SyncConnectorContract, json_members
from connectors.testing.faults import FaultProxy, Route
from connectors.testing.platform import FakePlatform, PlatformConnector, PlatformRun, PlatformSettings

TOKEN = "an-invented-token-of-the-platform"


def async_case(kind: type[PlatformConnector], proxy: FaultProxy, platform: FakePlatform, **more: Any) -> AsyncCase:
    given: dict[str, Any] = {
        "build": lambda: kind(PlatformSettings(proxy.url, TOKEN)),
        "task": TaskTemplate(kind.task_type, custom={"duration": 3600}),
        "secret_values": [TOKEN],
        "jobs": lambda key: len(platform.jobs(key=key)),
        "creates": Route("POST", "/jobs"),
        "gets": Route("GET", "/jobs/[^/]+"),
        "cancels": Route("POST", "/jobs/[^/]+/cancel"),
        "unknown": PlatformRun("job-0"),
        "metas": [PlatformRun("job-1")],
        "older_metas": {b'{"job_id": "job-1"}': PlatformRun("job-1")},
        "unknown_state": json_members(state="ASLEEP"),
        "finish": lambda key: platform.end(platform.jobs(key=key)[0].id),
        # it is looked into, and shows no job
        "errors": {"create": {409: Unavailable}},
        "hostile_metas": lambda address: [PlatformRun("../_jobs"), PlatformRun(f"@{address}"), PlatformRun("j?x=1")],
    }
    return AsyncCase(**{**given, **more})


class PlatformContract(AsyncConnectorContract):
    """One of the platform's connectors; ``kind`` says which, and ``more`` what is other than usual in its case."""

    kind: ClassVar[type[PlatformConnector]]
    more: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    async def platform(self) -> AsyncIterator[FakePlatform]:
        async with FakePlatform(token=TOKEN) as started:
            yield started

    @pytest.fixture
    def backend(self, platform: FakePlatform) -> str:
        return platform.url

    @pytest.fixture
    def case(self, proxy: FaultProxy, platform: FakePlatform) -> AsyncCase:
        return async_case(self.kind, proxy, platform, **self.more)


# --- a sync connector


@dataclass(frozen=True)
class LookUpSettings:
    url: str = ""


class LookUpConnector(SyncConnectorBase):
    """Says how many jobs of a key there are. Its task may name another platform, of the same host."""

    task_type = "look_up"
    Settings = LookUpSettings
    settings: LookUpSettings

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        url = self.address(task)
        token = await ctx.secrets.get("platform_token")
        answer = await ctx.http.request(
            "GET",
            f"{url}/jobs",
            params={"key": "k"},
            headers={"Authorization": f"Bearer {token}"},
            timeout=ctx.remaining(),
        )
        if answer.status >= 400:
            raise error_for_status(answer.status, f"HTTP {answer.status}: {answer.text()}", answer.headers)
        body = answer.json()
        if not isinstance(body, dict) or "jobs" not in body:
            raise Unavailable("the platform's answer has no jobs")
        return Resource(Phase.SUCCEEDED, outputs={"o0": len(body["jobs"])})

    def address(self, task: TaskTemplate) -> str:
        url = str(task.custom.get("url", self.settings.url))
        if urlsplit(url).hostname != urlsplit(self.settings.url).hostname:
            raise InvalidRequest("url: another host than the platform's")
        return url


class LookUpContract(SyncConnectorContract):
    """The sync connector; ``kind`` says which."""

    kind: ClassVar[type[LookUpConnector]] = LookUpConnector

    @pytest.fixture
    async def platform(self) -> AsyncIterator[FakePlatform]:
        async with FakePlatform(token=TOKEN) as started:
            yield started

    @pytest.fixture
    def backend(self, platform: FakePlatform) -> str:
        return platform.url

    @pytest.fixture
    def case(self, proxy: FaultProxy) -> SyncCase:
        return SyncCase(
            build=lambda: self.kind(LookUpSettings(proxy.url)),
            task=TaskTemplate("look_up"),
            secrets={"platform_token": TOKEN},
            calls=Route("GET", "/jobs"),
            hostile_tasks=lambda address: [TaskTemplate("look_up", custom={"url": f"http://{address}"})],
        )
