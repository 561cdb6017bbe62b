"""The two Flyte backends as callers: each with its own stubs, unchanged, and one task run from create to its end."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import flyteidl.admin.agent_pb2 as agent1
import flyteidl.core.identifier_pb2 as identifier1
import flyteidl.core.literals_pb2 as literals1
import flyteidl.core.tasks_pb2 as tasks1
import flyteidl2.connector.connector_pb2 as connector2
import flyteidl2.core.identifier_pb2 as identifier2
import flyteidl2.core.literals_pb2 as literals2
import flyteidl2.core.tasks_pb2 as tasks2
import flyteidl2.task.common_pb2 as common2
import grpc
from flyteidl.service import agent_pb2_grpc
from flyteidl2.connector import service_pb2_grpc

from connectors import Phase
from tests.end_to_end.polling import until_terminal

__all__ = ["Backend", "Ended", "Flyte1", "Flyte2"]

_SYNC = ("chatgpt", "webhook")
_TIMEOUT = 10.0  # seconds, as the backends'
_numbers = itertools.count()


@dataclass(frozen=True)
class Ended:
    """How a task ended."""

    phase: Phase
    message: str
    outputs: Mapping[str, Any]
    """Literals by name."""
    links: tuple[str, ...]
    meta: bytes
    """Empty where the call answered at once."""


class Backend(ABC):
    """One of them."""

    @abstractmethod
    def run(self, template: bytes, inputs: Mapping[str, Any], *, made: Callable[[], None] = ...) -> Ended:
        """Run a task. :param made: called once its job exists."""

    @abstractmethod
    def delete(self, template: bytes, inputs: Mapping[str, Any]) -> None:
        """Start a task, and abort it."""


def _nothing() -> None:
    """To be done between create and get."""


def _literal(literals: Any, value: int | str) -> Any:
    kind = {"integer": value} if isinstance(value, int) else {"string_value": value}
    return literals.Literal(scalar=literals.Scalar(primitive=literals.Primitive(**kind)))


def _execution(identifier: Any, name: str) -> Any:
    return identifier.TaskExecutionIdentifier(
        task_id=identifier.Identifier(project="sales", domain="production", name="wf.task", version="v1"),
        node_execution_id=identifier.NodeExecutionIdentifier(
            node_id="n0",
            execution_id=identifier.WorkflowExecutionIdentifier(project="sales", domain="production", name=name),
        ),
    )


def _name() -> str:
    return f"run{next(_numbers)}-{time.time_ns()}"


class Flyte1(Backend):
    """FlytePropeller."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._jobs = agent_pb2_grpc.AsyncAgentServiceStub(channel)
        self._calls = agent_pb2_grpc.SyncAgentServiceStub(channel)

    def run(self, template: bytes, inputs: Mapping[str, Any], *, made: Callable[[], None] = _nothing) -> Ended:
        task, name = tasks1.TaskTemplate.FromString(template), _name()
        if task.type in _SYNC:
            return _ended1(self._call(task, inputs, name), b"")
        meta = self._create(task, inputs, name)
        made()
        request = agent1.GetTaskRequest(resource_meta=meta, task_category=agent1.TaskCategory(name=task.type))
        return _ended1(until_terminal(lambda: self._jobs.GetTask(request, timeout=_TIMEOUT).resource), meta)

    def create(self, template: bytes, inputs: Mapping[str, Any]) -> bytes:
        """Start a task, and return the meta of its job."""
        return self._create(tasks1.TaskTemplate.FromString(template), inputs, _name())

    def delete(self, template: bytes, inputs: Mapping[str, Any]) -> None:
        task = tasks1.TaskTemplate.FromString(template)
        meta = self._create(task, inputs, _name())
        request = agent1.DeleteTaskRequest(resource_meta=meta, task_category=agent1.TaskCategory(name=task.type))
        self._jobs.DeleteTask(request, timeout=_TIMEOUT)

    def _create(self, task: Any, inputs: Mapping[str, Any], name: str) -> bytes:
        request = agent1.CreateTaskRequest(
            template=task,
            inputs=_map1(inputs),
            output_prefix=f"s3://bucket/{name}/n0/0",
            task_execution_metadata=_metadata1(name),
        )
        meta: bytes = self._jobs.CreateTask(request, timeout=_TIMEOUT).resource_meta
        return meta

    def _call(self, task: Any, inputs: Mapping[str, Any], name: str) -> Any:
        header = agent1.CreateRequestHeader(
            template=task, output_prefix=f"s3://bucket/{name}/n0/0", task_execution_metadata=_metadata1(name)
        )

        def messages() -> Iterator[Any]:
            yield agent1.ExecuteTaskSyncRequest(header=header)
            yield agent1.ExecuteTaskSyncRequest(inputs=_map1(inputs))

        (answer,) = self._calls.ExecuteTaskSync(messages(), timeout=_TIMEOUT)
        return answer.header.resource


def _metadata1(name: str) -> Any:
    execution = _execution(identifier1, name)
    return agent1.TaskExecutionMetadata(task_execution_id=execution, namespace="sales-production")


def _map1(inputs: Mapping[str, Any]) -> Any:
    return literals1.LiteralMap(literals={key: _literal(literals1, value) for key, value in inputs.items()})


def _ended1(resource: Any, meta: bytes) -> Ended:
    links = tuple(link.name for link in resource.log_links)
    return Ended(Phase(resource.phase), resource.message, dict(resource.outputs.literals), links, meta)


class Flyte2(Backend):
    """The Flyte 2 executor. It has no calls that answer at once: all are jobs."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._jobs = service_pb2_grpc.AsyncConnectorServiceStub(channel)

    def run(self, template: bytes, inputs: Mapping[str, Any], *, made: Callable[[], None] = _nothing) -> Ended:
        task = tasks2.TaskTemplate.FromString(template)  # the bytes of Flyte 1's, on the wire the same
        meta = self._create(task, inputs)
        made()
        request = connector2.GetTaskRequest(resource_meta=meta, task_category=connector2.TaskCategory(name=task.type))
        resource = until_terminal(lambda: self._jobs.GetTask(request, timeout=_TIMEOUT).resource)
        outputs = {each.name: each.value for each in resource.outputs.literals}
        links = tuple(link.name for link in resource.log_links)
        return Ended(Phase(resource.phase), resource.message, outputs, links, meta)

    def create(self, template: bytes, inputs: Mapping[str, Any]) -> bytes:
        """Start a task, and return the meta of its job."""
        return self._create(tasks2.TaskTemplate.FromString(template), inputs)

    def delete(self, template: bytes, inputs: Mapping[str, Any]) -> None:
        task = tasks2.TaskTemplate.FromString(template)
        category = connector2.TaskCategory(name=task.type)
        request = connector2.DeleteTaskRequest(resource_meta=self._create(task, inputs), task_category=category)
        self._jobs.DeleteTask(request, timeout=_TIMEOUT)

    def _create(self, task: Any, inputs: Mapping[str, Any]) -> bytes:
        name = _name()
        literals = [common2.NamedLiteral(name=key, value=_literal(literals2, value)) for key, value in inputs.items()]
        execution = _execution(identifier2, name)
        request = connector2.CreateTaskRequest(
            template=task,
            inputs=common2.Inputs(literals=literals),
            output_prefix=f"s3://bucket/{name}/a0/1",
            task_execution_metadata=connector2.TaskExecutionMetadata(
                task_execution_id=execution, namespace="sales-production"
            ),
        )
        meta: bytes = self._jobs.CreateTask(request, timeout=_TIMEOUT).resource_meta
        return meta
