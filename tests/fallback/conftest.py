from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from connectors.testing.server import ConnectorServer
from tests.fallback.other_service import OtherService, serving
from tests.wire.conftest import one_event_loop
from tests.wire.connectors_for_tests import AcmeConnector

__all__ = ["one_event_loop"]

Front = Callable[..., AbstractAsyncContextManager["Site"]]


class Site:
    """This service, and a raw channel to it: bytes in, bytes out."""

    def __init__(self, server: ConnectorServer, acme: AcmeConnector, channel: Any) -> None:
        self.server = server
        self.acme = acme
        self._channel = channel

    async def call(self, path: str, request: bytes, **options: Any) -> bytes:
        answer: bytes = await self._channel.unary_unary(path)(request, timeout=30, **options)
        return answer

    def unary(self, path: str, request: bytes, **options: Any) -> Any:
        return self._channel.unary_unary(path)(request, **options)

    def stream(self, path: str, request: bytes, **options: Any) -> Any:
        return self._channel.unary_stream(path)(request, timeout=30, **options)

    def both(self, path: str, **options: Any) -> Any:
        return self._channel.stream_stream(path)(timeout=30, **options)


@pytest.fixture
async def other(anyio_backend: str) -> AsyncIterator[OtherService]:
    async with serving(OtherService("theirs")) as service:
        yield service


@pytest.fixture
def front() -> Front:
    """This service, with the task type ``acme`` of its own, before another."""

    @asynccontextmanager
    async def make(fallback: str, **settings: Any) -> AsyncIterator[Site]:
        acme = AcmeConnector()
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        async with (
            ConnectorServer(acme, fallback=fallback, **settings) as server,
            grpc.aio.insecure_channel(server.address, options=options) as channel,
        ):
            yield Site(server, acme, channel)

    return make


@pytest.fixture
async def site(other: OtherService, front: Front) -> AsyncIterator[Site]:
    async with front(other.address) as site:
        yield site
