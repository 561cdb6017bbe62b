"""What the connector's tests share: services to call, settings that allow them, and the context of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest

from connectors import Interface, LiteralType, Resource, TaskTemplate
from connectors.testing.contexts import NewContext
from connectors.testing.fixtures import http, new_context
from connectors_http import WebhookConnector, WebhookSettings
from plugins.http.tests.fake_service import FakeService

__all__ = ["http", "new_context"]

THIS_MACHINE = ("127.0.0.0/8", "::1/128")


class Call(Protocol):
    """Makes one call, as the service would have it made."""

    async def __call__(
        self,
        *,
        inputs: Mapping[str, Any] = ...,
        declared: Mapping[str, LiteralType] = ...,
        declared_outputs: Mapping[str, LiteralType] = ...,
        secrets: Mapping[str, str] = ...,
        settings: WebhookSettings | None = ...,
        key: str = ...,
        seconds: float = ...,
        **custom: Any,
    ) -> Resource: ...


@pytest.fixture(autouse=True)
def no_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with FakeService().serving() as service:
        yield service


@pytest.fixture
async def another() -> AsyncIterator[FakeService]:
    async with FakeService().serving() as service:
        yield service


@pytest.fixture
def allowing() -> Callable[..., WebhookSettings]:
    """Settings that list services of this machine."""

    def make(*services: FakeService, **more: Any) -> WebhookSettings:
        return WebhookSettings(
            **{"hosts": tuple(each.url for each in services), "private_networks": THIS_MACHINE, **more}
        )

    return make


@pytest.fixture
async def call(
    new_context: NewContext, service: FakeService, allowing: Callable[..., WebhookSettings]
) -> AsyncIterator[Call]:
    """Calls ``service``, unless the task names another URL."""
    async with AsyncExitStack() as ending:
        started: dict[int, WebhookConnector] = {}
        usual = allowing(service)

        async def make(
            *,
            inputs: Mapping[str, Any] | None = None,
            declared: Mapping[str, LiteralType] | None = None,
            declared_outputs: Mapping[str, LiteralType] | None = None,
            secrets: Mapping[str, str] | None = None,
            settings: WebhookSettings | None = None,
            key: str = "",
            seconds: float = 30.0,
            **custom: Any,
        ) -> Resource:
            chosen = settings or usual
            connector = started.get(id(chosen))
            if connector is None:
                connector = started[id(chosen)] = WebhookConnector(chosen)
                await connector.start(new_context.http)
                ending.push_async_callback(connector.aclose)
            ctx = new_context(key, inputs=inputs, secrets=secrets, seconds=seconds)
            interface = Interface(inputs=declared or {}, outputs=declared_outputs or {"info": LiteralType("struct")})
            task = TaskTemplate("webhook", custom={"url": service.url, **custom}, interface=interface)
            return await connector.do(task, ctx)

        yield make
