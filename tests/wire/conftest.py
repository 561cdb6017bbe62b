from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.wire.connectors_for_tests import Served, serving


@pytest.fixture
async def served(anyio_backend: str) -> AsyncIterator[Served]:
    async with serving() as server:
        yield server
