"""What both contracts' facts are given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from connectors.http import HttpClient
from connectors.testing.contract._calls import Calls
from connectors.testing.contract._case import AsyncCase, SyncCase
from connectors.testing.faults import FaultProxy, ForeignHost

__all__ = ["ContractFixtures"]


class ContractFixtures:
    """A plugin's tests give ``backend`` and ``case``, as fixtures of these names."""

    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> str:
        """The service runs on asyncio alone."""
        return "asyncio"

    @pytest.fixture
    def backend(self) -> str:
        """The URL of an emulator, or of a fake platform."""
        raise pytest.UsageError("give the fixture `backend`: the URL of a platform")

    @pytest.fixture
    def case(self, proxy: FaultProxy) -> AsyncCase | SyncCase:
        """The connector, on the platform behind ``proxy.url``."""
        raise pytest.UsageError("give the fixture `case`: what the suite has to know")

    @pytest.fixture
    async def proxy(self, backend: str) -> AsyncIterator[FaultProxy]:
        """Stands before the platform."""
        async with FaultProxy(backend) as proxy:
            yield proxy

    @pytest.fixture
    async def foreign(self) -> AsyncIterator[ForeignHost]:
        """Where nobody may be led to."""
        async with ForeignHost() as host:
            yield host

    @pytest.fixture
    async def http(self) -> AsyncIterator[HttpClient]:
        """As the service's own."""
        async with HttpClient() as client:
            yield client

    @pytest.fixture
    async def calls(self, case: AsyncCase | SyncCase, http: HttpClient) -> AsyncIterator[Calls]:
        """The connector, started."""
        async with Calls(case, http) as calls:
            yield calls

    @pytest.fixture
    async def another(self, case: AsyncCase | SyncCase, http: HttpClient) -> AsyncIterator[Calls]:
        """Another server's connector on the same platform, which has nothing cached."""
        async with Calls(case, http) as calls:
            yield calls
