from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors._stores.memory import MemoryStore
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.engine.harness import Bench


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Time is virtual: the tests wait for no clock."""
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    store = MemoryStore()
    await store.start()
    yield Bench(store=store)
    await store.aclose()
