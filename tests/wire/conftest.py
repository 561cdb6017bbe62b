from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from tests.wire.connectors_for_tests import Served, serving


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: object) -> AsyncIterator[None]:
    """A module's tests share an event loop. grpc.aio has one completion queue for the process: what a call of one test
    left in it would be handed to the closed loop of that test, and the error to whoever runs then.
    """
    yield
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        for _ in range(2):  # the queue is in order: once these have failed, all before them was handed over
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/none/None", bytes, bytes)(b"", timeout=5)


@pytest.fixture
async def served(anyio_backend: str) -> AsyncIterator[Served]:
    async with serving() as server:
        yield server
