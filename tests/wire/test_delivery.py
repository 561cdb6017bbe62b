"""What the store learns from real calls: that an answer left, that it reached nobody, how the job ended."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import identifier_pb2, tasks_pb2
from flyteidl.service import agent_pb2_grpc

from connectors._stores import Delivery, Record
from tests.wire import transport_peers
from tests.wire.connectors_for_tests import Served
from tests.wire.transport_peers import BOUND_S, message, raw_client

pytestmark = pytest.mark.anyio

CREATE = "/flyteidl.service.AsyncAgentService/CreateTask"
ACME = agent_pb2.TaskCategory(name="acme")
NO_WINDOW = {4: 0}  # SETTINGS_INITIAL_WINDOW_SIZE, RFC 9113 §6.5.2


def create_request() -> agent_pb2.CreateTaskRequest:
    task = identifier_pb2.Identifier(project="p", domain="d", name="wf.t", version="v1")
    return agent_pb2.CreateTaskRequest(
        template=tasks_pb2.TaskTemplate(type="acme"),
        output_prefix="s3://b/ex1/n0/0",
        task_execution_metadata=agent_pb2.TaskExecutionMetadata(
            task_execution_id=identifier_pb2.TaskExecutionIdentifier(task_id=task)
        ),
    )


async def record_that(served: Served, fits: Callable[[Record], object]) -> Record:
    """The one job's record, once it fits."""
    with anyio.fail_after(BOUND_S):
        while True:
            async for record in served.store.records():
                if fits(record):
                    return record
            await anyio.sleep(0.01)


async def test_an_answer_that_its_caller_took_is_delivered(served: Served) -> None:
    stub = agent_pb2_grpc.AsyncAgentServiceStub(served.channel)
    await stub.CreateTask(create_request(), timeout=BOUND_S)
    record = await record_that(served, lambda each: each.delivery is not Delivery.NOT_KNOWN)
    assert record.delivery is Delivery.DELIVERED


async def test_an_answer_that_its_caller_could_not_take_is_lost(served: Served) -> None:
    host, _, port = served.address.rpartition(":")
    peer = transport_peers.Served(served.server, host, int(port))
    async with raw_client(peer, NO_WINDOW) as client:
        stream = client.request(message(create_request().SerializeToString()), path=CREATE)
        await record_that(served, lambda each: each.meta is not None)
        await client.round_trip()
        client.reset(stream)
        record = await record_that(served, lambda each: each.delivery is not Delivery.NOT_KNOWN)
    assert record.delivery is Delivery.LOST


async def test_an_end_that_a_poll_took_is_written_down(served: Served) -> None:
    stub = agent_pb2_grpc.AsyncAgentServiceStub(served.channel)
    created = await stub.CreateTask(create_request(), timeout=BOUND_S)
    asked = agent_pb2.GetTaskRequest(task_category=ACME, resource_meta=created.resource_meta)
    await stub.GetTask(asked, timeout=BOUND_S)
    record = await record_that(served, lambda each: each.terminal)
    assert (record.terminal, record.asked_at > 0) == ("SUCCEEDED", True)
