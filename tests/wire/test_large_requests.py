"""Large requests are read beside the event loop: whatever they hold, other calls are answered meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from flyteidl.service import agent_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from connectors._proto.flyteidl import admin
from connectors._wire.large_requests import LARGE, parsed, read
from connectors._wire.rejection import Reason, Rejected
from connectors._wire.status import Status
from tests.wire.connectors_for_tests import Served
from tests.wire.test_flyte1 import create_request, sync_parts, text

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def busy_reader() -> AsyncIterator[None]:
    """The thread reads a request that takes as long as the block does."""
    begun, end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert end.wait(30)

    reading = asyncio.create_task(read(LARGE, slow))
    await begun.wait()
    try:
        yield
    finally:
        end.set()
        await reading


async def test_a_small_request_is_read_at_once_and_a_large_one_in_a_thread() -> None:
    assert await read(LARGE - 1, threading.get_ident) == threading.get_ident()
    assert await read(LARGE, threading.get_ident) != threading.get_ident()


async def test_the_thread_does_not_keep_the_process_alive() -> None:
    assert (await read(LARGE, threading.current_thread)).daemon


@pytest.mark.parametrize("size", [100, 2 * LARGE])
async def test_bytes_that_are_no_message_are_rejected_the_same_wherever_they_are_read(size: int) -> None:
    with pytest.raises(Rejected, match=r"no flyteidl\.admin\.GetAgentRequest") as caught:
        await parsed(admin.GetAgentRequest, b"\xff" * size)
    assert (caught.value.status, caught.value.reason) == (Status.INTERNAL, Reason.MALFORMED)


async def test_a_request_whose_caller_left_before_its_turn_is_not_read() -> None:
    done: list[str] = []
    async with busy_reader():
        left = asyncio.create_task(read(LARGE, partial(done.append, "left")))
        stays = asyncio.create_task(read(LARGE, partial(done.append, "stays")))
        await asyncio.sleep(0)  # both are in the queue
        left.cancel()
        await asyncio.wait([left])
    await asyncio.wait_for(stays, 10)
    assert done == ["stays"]


async def test_other_calls_are_answered_while_a_large_create_is_read(served: Served) -> None:
    tasks: Any = agent_pb2_grpc.AsyncAgentServiceStub(served.channel)
    health: Any = health_pb2_grpc.HealthStub(served.channel)
    request = create_request(prefix="s3://b/large/0")
    request.inputs.literals["who"].CopyFrom(text("x" * LARGE))
    async with busy_reader():
        large = asyncio.ensure_future(tasks.CreateTask(request, timeout=20))
        await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        await tasks.CreateTask(create_request(), timeout=10)
        assert not large.done()
    assert (await large).resource_meta
    assert [len(each.inputs["who"]) for each in served.acme.created] == [3, LARGE]


async def test_other_calls_are_answered_while_a_large_sync_call_is_read(served: Served) -> None:
    sync: Any = agent_pb2_grpc.SyncAgentServiceStub(served.channel)
    parts = sync_parts()
    parts[1].inputs.literals["o0"].CopyFrom(text("x" * LARGE))

    async def answered(messages: list[Any]) -> int:
        call = sync.ExecuteTaskSync(iter(messages), timeout=20)
        return len([answer async for answer in call])

    async with busy_reader():
        large = asyncio.create_task(answered(parts))
        assert await answered(sync_parts()) == 1
        assert not large.done()
    assert await large == 1


async def test_what_is_wrong_in_a_large_create_is_said_as_in_a_small_one(served: Served) -> None:
    request = create_request()
    request.inputs.literals["who"].CopyFrom(text("x" * LARGE))
    data = request.SerializeToString()
    with pytest.raises(Exception, match="they end in the middle of a field"):
        await served.call("/flyteidl.service.AsyncAgentService/CreateTask", data[:-1])
    assert [reason for _, _, reason in served.rejected] == ["malformed"]
