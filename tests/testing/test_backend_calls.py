"""The backend simulator's calls as Flyte's own server stubs receive them, over real gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.service import agent_pb2_grpc
from flyteidl2.connector import connector_pb2, service_pb2_grpc

from connectors import TaskTemplate
from connectors.testing.backend import Backend, BackendTask, Protocol, distinct_tasks

pytestmark = pytest.mark.anyio

TASK = BackendTask(TaskTemplate("acme"), {"query": "select 1"}, secrets={"token": "t"})
both = pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"  # gRPC's threads know no virtual time


@dataclass
class Service:
    """Answers RUNNING to each job's first poll, then SUCCEEDED."""

    protocol: Protocol
    received: list[Any] = field(default_factory=list)
    time_left: list[float | None] = field(default_factory=list)

    @property
    def messages(self) -> Any:
        return agent_pb2 if self.protocol == "flyte1" else connector_pb2

    def CreateTask(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        self._note(request, context)
        return self.messages.CreateTaskResponse(resource_meta=request.output_prefix.encode())

    def GetTask(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        polls = sum(request == earlier for earlier in self.received)
        self._note(request, context)
        return self.messages.GetTaskResponse(resource=self.messages.Resource(phase=3 if polls else 2))

    def DeleteTask(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._note(request, context)
        return self.messages.DeleteTaskResponse()

    def _note(self, request: Any, context: grpc.ServicerContext) -> None:
        self.received.append(request)
        self.time_left.append(context.time_remaining())


@contextmanager
def serving(service: Service, address: str = "127.0.0.1:0") -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    if service.protocol == "flyte1":
        servicer, add = (
            agent_pb2_grpc.AsyncAgentServiceServicer(),
            agent_pb2_grpc.add_AsyncAgentServiceServicer_to_server,
        )
    else:
        servicer = service_pb2_grpc.AsyncConnectorServiceServicer()
        add = service_pb2_grpc.add_AsyncConnectorServiceServicer_to_server
    for name in (
        "CreateTask",
        "GetTask",
        "DeleteTask",
    ):  # what the backend does not call, stays as it is: unimplemented
        setattr(servicer, name, getattr(service, name))
    add(servicer, server)
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@both
async def test_a_task_is_created_and_polled_as_flyte_does(protocol: Protocol) -> None:
    service = Service(protocol)
    with serving(service) as address:
        async with Backend([address], protocol=protocol, poll_interval=0.01) as backend:
            (fate,) = await backend.run([TASK])
    assert (fate.outcome, fate.failed_calls) == ("succeeded", ())
    create, first, second = service.received
    assert (create.template.type, create.output_prefix) == ("acme", TASK.output_prefix(protocol))
    execution = create.task_execution_metadata.task_execution_id
    assert (execution.node_execution_id.execution_id.name, execution.retry_attempt) == ("run", 0)
    assert execution.task_id.name == "acme"
    assert first == second
    assert (first.task_category.name, first.resource_meta) == ("acme", create.output_prefix.encode())
    assert first.output_prefix == create.output_prefix
    if protocol == "flyte2":
        assert create.connection.secrets == first.connection.secrets == {"token": "t"}


@both
async def test_an_abort_deletes_as_flyte_does(protocol: Protocol) -> None:
    service = Service(protocol)
    task = BackendTask(TASK.template, abort_after=0.0)
    with serving(service) as address:
        async with Backend([address], protocol=protocol, poll_interval=0.5) as backend:
            (fate,) = await backend.run([task])
    assert fate.outcome == "aborted"
    (deleted,) = [each for each in service.received if isinstance(each, service.messages.DeleteTaskRequest)]
    assert (deleted.task_category.name, deleted.resource_meta) == ("acme", fate.metas[0])


@pytest.mark.parametrize(("deadline", "at_most"), [(10.0, 10.0), (3.0, 3.0)])
async def test_each_call_has_the_deadline(deadline: float, at_most: float) -> None:
    service = Service("flyte1")
    with serving(service) as address:
        async with Backend([address], deadline=deadline, poll_interval=0.01) as backend:
            await backend.run([TASK])
    assert all(left is not None and at_most - 2 < left <= at_most for left in service.time_left)


async def test_a_deployment_of_its_own_has_no_deadline() -> None:
    service = Service("flyte1")
    with serving(service) as address:
        async with Backend([address], deadline=None, poll_interval=0.01) as backend:
            await backend.run([TASK])
    assert all(left is None or left > 1e6 for left in service.time_left)


async def test_servers_are_called_in_turn_and_one_that_cannot_be_reached_is_passed_over() -> None:
    first, second = Service("flyte1"), Service("flyte1")
    with serving(first) as one:
        with serving(second) as two:
            async with Backend([one, two], poll_interval=0.01) as backend:
                await backend.run(distinct_tasks(10, TASK.template))
        assert abs(len(first.received) - len(second.received)) <= 1
        assert len(second.received) >= 15
        before = len(first.received)
        async with Backend([one, two], poll_interval=0.01) as backend:
            fates = await backend.run(distinct_tasks(10, TASK.template, execution="again"))
    assert {fate.outcome for fate in fates} == {"succeeded"}
    assert [fate.failed_calls for fate in fates] == [()] * 10
    assert len(first.received) == before + 30


async def test_a_service_that_cannot_be_reached_fails_the_task() -> None:
    with serving(Service("flyte1")) as address:
        pass
    async with Backend([address]) as backend:
        (fate,) = await backend.run([TASK])
    assert (fate.outcome, [call.result for call in fate.calls]) == ("failed", ["UNAVAILABLE"])
