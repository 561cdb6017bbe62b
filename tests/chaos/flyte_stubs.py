"""The backend's calls over Flyte 1's own stubs: gRPC's client, its ``round_robin``, and no retry policy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

import grpc
from flyteidl.admin import agent_pb2
from flyteidl.core import identifier_pb2, tasks_pb2
from flyteidl.service import agent_pb2_grpc

from connectors.client import CallFailed
from connectors.models import Phase, Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate
from connectors.testing.backend import Protocol

__all__ = ["FlyteStubs"]


class FlyteStubs:
    """A backend's transport; see :class:`connectors.testing.backend.Transport`. Tasks have no inputs here.

    The channel retries nothing but what no server has begun, as gRPC's clients do whatever their policy:
    https://grpc.io/docs/guides/retry/#transparent-retry
    """

    def __init__(self, endpoints: Sequence[str], protocol: Protocol, deadline: float | None) -> None:
        assert protocol == "flyte1", "these stubs are Flyte 1's"
        self._deadline = deadline
        # a channel of its own: gRPC shares connections between channels with the same options
        options = [("grpc.lb_policy_name", "round_robin"), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"ipv4:{','.join(endpoints)}", options=options)
        self._stub: Any = agent_pb2_grpc.AsyncAgentServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._channel.close()

    async def create(
        self,
        task: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str,
        metadata: TaskExecutionMetadata,
        secrets: Mapping[str, str],
    ) -> bytes:
        """CreateTask."""
        assert not inputs, "tasks have no inputs here"
        template = tasks_pb2.TaskTemplate(type=task.type)
        template.id.CopyFrom(_identifier(task))
        template.custom.update(task.custom)
        request = agent_pb2.CreateTaskRequest(template=template, output_prefix=output_prefix)
        request.task_execution_metadata.CopyFrom(_metadata(task, metadata))
        meta: bytes = (await self._call(self._stub.CreateTask, request)).resource_meta
        return meta

    async def get(
        self, category: TaskCategory, meta: bytes, *, output_prefix: str, secrets: Mapping[str, str]
    ) -> Resource:
        """GetTask."""
        request = agent_pb2.GetTaskRequest(
            task_category=_category(category), resource_meta=meta, output_prefix=output_prefix
        )
        resource = (await self._call(self._stub.GetTask, request)).resource
        literals = resource.outputs.literals.items()
        outputs = {name: literal.scalar.primitive.string_value for name, literal in literals}
        return Resource(Phase(resource.phase), resource.message, outputs=outputs or None)

    async def delete(self, category: TaskCategory, meta: bytes, *, secrets: Mapping[str, str]) -> None:
        """DeleteTask."""
        request = agent_pb2.DeleteTaskRequest(task_category=_category(category), resource_meta=meta)
        await self._call(self._stub.DeleteTask, request)

    async def _call(self, method: Any, request: Any) -> Any:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        call = method.future(request, timeout=self._deadline)
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
        try:
            await ended.wait()
        except asyncio.CancelledError:
            call.cancel()
            raise
        if call.code() is not grpc.StatusCode.OK:
            raise CallFailed(call.code().name, call.details() or "")
        return call.result()


def _category(category: TaskCategory) -> agent_pb2.TaskCategory:
    return agent_pb2.TaskCategory(name=category.name, version=category.version)


def _identifier(task: TaskTemplate) -> identifier_pb2.Identifier:
    of = task.id
    return identifier_pb2.Identifier(
        resource_type=identifier_pb2.TASK, project=of.project, domain=of.domain, name=of.name, version=of.version
    )


def _metadata(task: TaskTemplate, metadata: TaskExecutionMetadata) -> agent_pb2.TaskExecutionMetadata:
    of = metadata.task_execution_id
    assert of is not None, "every task of the backend's has an identity"
    execution = identifier_pb2.WorkflowExecutionIdentifier(project=of.project, domain=of.domain, name=of.execution)
    node = identifier_pb2.NodeExecutionIdentifier(node_id=of.node_id, execution_id=execution)
    return agent_pb2.TaskExecutionMetadata(
        task_execution_id=identifier_pb2.TaskExecutionIdentifier(
            task_id=_identifier(task), node_execution_id=node, retry_attempt=of.retry_attempt
        ),
        namespace=metadata.namespace,
        labels=metadata.labels,
        annotations=metadata.annotations,
        k8s_service_account=metadata.k8s_service_account,
    )
