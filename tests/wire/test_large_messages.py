"""Large requests are read, and large answers written, beside the event loop: other calls are answered meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from flyteidl.admin import agent_pb2
from flyteidl.service import agent_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from connectors import Phase, Resource
from connectors._messages.written import WrittenOutputs, holds_many
from connectors._proto.flyteidl import admin
from connectors._wire.large_messages import LARGE, parsed, read, written
from connectors._wire.rejection import Reason, Rejected
from connectors._wire.status import Status
from tests.wire.connectors_for_tests import Served
from tests.wire.test_flyte1 import category, create_request, sync_parts, text

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


# --- answers

MANY = Resource(Phase.SUCCEEDED, outputs={"vectors": [[0.5] * 100] * 20})


async def test_an_answer_of_many_values_is_written_in_the_thread_and_another_at_once() -> None:
    async def where(resource: Resource) -> int:
        return int(await written(resource, lambda: str(threading.get_ident()).encode()))

    few = Resource(Phase.SUCCEEDED, outputs={"text": "x" * LARGE, "vectors": [[0.5] * 100]})
    assert await where(MANY) != threading.get_ident()
    assert await where(few) == await where(Resource(Phase.RUNNING)) == threading.get_ident()


def test_values_that_hold_themselves_are_many() -> None:
    values: list[Any] = []
    values.append(values)
    assert holds_many({"o0": values})


def test_what_was_many_values_is_many_literals() -> None:
    assert holds_many(WrittenOutputs.of({"vectors": [[0.5] * 100] * 20}, {}))
    assert not holds_many(WrittenOutputs.of({"vectors": [[0.5] * 100]}, {}))


class Telling(dict[str, Any]):
    """Tells in which threads it is written."""

    def __init__(self) -> None:
        super().__init__(MANY.outputs or {})
        self.writers: set[int] = set()

    def items(self) -> Any:
        self.writers.add(threading.get_ident())
        return super().items()


async def test_a_jobs_large_results_are_written_in_the_thread_alone(served: Served) -> None:
    tasks: Any = agent_pb2_grpc.AsyncAgentServiceStub(served.channel)
    outputs = Telling()
    served.acme.answers = [Resource(Phase.SUCCEEDED, outputs=outputs)]
    meta = (await tasks.CreateTask(create_request(), timeout=10)).resource_meta
    request = agent_pb2.GetTaskRequest(resource_meta=meta, task_category=category())
    vectors = (await tasks.GetTask(request, timeout=20)).resource.outputs.literals["vectors"].collection.literals
    assert [len(each.collection.literals) for each in vectors] == [100] * 20
    assert len(outputs.writers) == 1
    assert threading.get_ident() not in outputs.writers


async def test_other_calls_are_answered_while_a_sync_calls_large_answer_is_written(served: Served) -> None:
    sync: Any = agent_pb2_grpc.SyncAgentServiceStub(served.channel)
    health: Any = health_pb2_grpc.HealthStub(served.channel)
    outputs = Telling()
    served.echo.answer = lambda ctx: Resource(Phase.SUCCEEDED, outputs=outputs)

    async def answered() -> Any:
        (answer,) = [each async for each in sync.ExecuteTaskSync(iter(sync_parts()), timeout=20)]
        return answer.header.resource.outputs.literals["vectors"].collection.literals

    begun, end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> bool:
        loop.call_soon_threadsafe(begun.set)
        return end.wait(30)

    async with busy_reader():
        large = asyncio.create_task(answered())
        while not served.echo.calls:
            await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert not outputs.writers
        # what the engine makes of it is in the queue; this comes before the message
        next_in_the_queue = asyncio.create_task(read(LARGE, slow))
    await begun.wait()
    assert outputs.writers
    for _ in range(10):
        await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert not large.done()
    end.set()
    assert await next_in_the_queue
    assert [len(each.collection.literals) for each in await large] == [100] * 20
    assert threading.get_ident() not in outputs.writers
