"""Pytest fixtures for a plugin's tests, to be imported in its ``conftest.py``.

They need pytest, and anyio's plugin to it, which runs asynchronous tests that are marked ``anyio``::

    from connectors.testing.fixtures import anyio_backend as anyio_backend
    from connectors.testing.fixtures import http as http
    from connectors.testing.fixtures import new_context as new_context
    from connectors.testing.fixtures import serve as serve

``async def test_…(serve: Serve)`` then starts servers that end with the test:
``server = await serve(AcmeConnector(settings))``. ``async def test_…(new_context: NewContext)`` calls the connector
itself: ``await connector.create(task, new_context())``. Where every call has the same secrets, make the fixture anew::

    from connectors.testing.contexts import NewContext

    @pytest.fixture
    def new_context(http: HttpClient) -> NewContext:
        return NewContext(http, secrets={"acme_token": "an invented token"})
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest

from connectors.connector import AsyncConnectorBase, SyncConnectorBase
from connectors.http import HttpClient
from connectors.testing.contexts import NewContext
from connectors.testing.server import ConnectorServer

__all__ = ["Serve", "anyio_backend", "http", "new_context", "serve"]


class Serve(Protocol):
    """Starts a server: what the fixture ``serve`` is."""

    async def __call__(
        self, *connectors: AsyncConnectorBase[Any] | SyncConnectorBase, **settings: Any
    ) -> ConnectorServer:
        """Takes what :class:`connectors.testing.server.ConnectorServer` takes."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The service runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    """A pooled HTTP client, as each call's ``ctx.http``."""
    async with HttpClient() as client:
        yield client


@pytest.fixture
def new_context(http: HttpClient) -> NewContext:
    """Makes the contexts of calls, with no secrets but the environment's."""
    return NewContext(http)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers on free ports of this machine; each is ended with the test, the last one first."""
    async with AsyncExitStack() as servers:

        async def start(*connectors: AsyncConnectorBase[Any] | SyncConnectorBase, **settings: Any) -> ConnectorServer:
            return await servers.enter_async_context(ConnectorServer(*connectors, **settings))

        yield start
