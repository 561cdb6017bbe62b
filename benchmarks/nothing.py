"""A connector that does nothing, and the calls for it: Flyte 1's own messages, as the backend fills them.

What is measured with it is the service, and no platform. A job is its ``output_prefix``: so the generator knows,
without reading answers, which metas the creates before have made.
"""

from __future__ import annotations

from pathlib import Path

from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2

from benchmarks.load import NUMBER, Body
from tests.registry.distributions import write_distribution

__all__ = ["CREATE", "CREATED", "GET", "GOT", "SLOW", "TASK_TYPE", "create_task", "get_task", "install"]

TASK_TYPE = "nothing"
CREATE = "/flyteidl.service.AsyncAgentService/CreateTask"
GET = "/flyteidl.service.AsyncAgentService/GetTask"
_ID = NUMBER.decode()
_PREFIX = f"s3://flyte-data/metadata/propeller/analytics-production-a{_ID}/n0/data/0"
_META = b'{"job":"%s"}' % _PREFIX.encode()
CREATED: bytes = agent_pb2.CreateTaskResponse(resource_meta=_META).SerializeToString()
"""What such a create answers, one job for all: for the servers that read nothing."""
GOT: bytes = agent_pb2.GetTaskResponse(
    resource=agent_pb2.Resource(state=agent_pb2.RUNNING, phase=execution_pb2.TaskExecution.RUNNING)
).SerializeToString()
"""What such a poll answers."""
_SOURCE = """
import asyncio
import os
import time
from dataclasses import dataclass
from connectors import AsyncConnectorBase, Phase, Resource, ResourceMeta

SLOW = float(os.environ.get("SLOW", "5"))

@dataclass(frozen=True)
class Job(ResourceMeta):
    job: str

class Nothing(AsyncConnectorBase[Job]):
    task_type = "nothing"

    async def create(self, task, ctx):
        return Job(ctx.output_prefix)

    async def get(self, job, ctx):
        return Resource(Phase.RUNNING)

    async def delete(self, job, ctx):
        return None

class Slow(Nothing):
    task_type = "slow"

    async def get(self, job, ctx):
        await asyncio.sleep(SLOW)
        return Resource(Phase.RUNNING)

class Blocking(Nothing):
    task_type = "blocking"

    def get(self, job, ctx):
        time.sleep(SLOW)
        return Resource(Phase.RUNNING)
"""
SLOW = 5.0
"""Seconds that a poll of ``slow`` and of ``blocking`` takes; the server's environment may say otherwise."""


def install(folder: Path) -> None:
    """Write the plugins ``nothing``, ``slow`` (its polls take five seconds) and ``blocking`` (the same, in threads).

    :param folder: for ``PYTHONPATH``.
    """
    entries = {"nothing": "Nothing", "slow": "Slow", "blocking": "Blocking"}
    write_distribution(folder, "nothing", _SOURCE, entry_points=entries)


def get_task(task_type: str = TASK_TYPE) -> Body:
    """GetTask for the job that the create of the same number makes."""
    request = agent_pb2.GetTaskRequest(
        resource_meta=_META,
        task_category=agent_pb2.TaskCategory(name=task_type, version=0),
        output_prefix=_PREFIX,
    )
    return Body.of(request.SerializeToString())


def create_task(task_type: str = TASK_TYPE) -> Body:
    """CreateTask of about 860 bytes: a task with a command line, four inputs, and what Flyte tells of the execution."""
    of_task = {"project": "analytics", "domain": "production"}
    template = tasks_pb2.TaskTemplate(
        id=identifier_pb2.Identifier(
            resource_type=identifier_pb2.TASK, name="pipelines.daily.refresh_orders", version="v2026.11.1", **of_task
        ),
        type=task_type,
        metadata=tasks_pb2.TaskMetadata(
            runtime=tasks_pb2.RuntimeMetadata(type=1, version="1.16.8", flavor="python"),
            retries=literals_pb2.RetryStrategy(retries=2),
        ),
        interface=interface_pb2.TypedInterface(
            inputs=interface_pb2.VariableMap(
                variables={
                    name: interface_pb2.Variable(type=types_pb2.LiteralType(simple=kind))
                    for name, kind in (
                        ("day", types_pb2.STRING),
                        ("limit", types_pb2.INTEGER),
                        ("ratio", types_pb2.FLOAT),
                        ("full", types_pb2.BOOLEAN),
                    )
                }
            )
        ),
        container=tasks_pb2.Container(
            image="ghcr.io/example/pipelines:v2026.11.1",
            command=["pipelines"],
            args=["refresh", "--day", "{{.inputs.day}}", "--output", "{{.outputPrefix}}"],
        ),
    )
    template.custom.update({"warehouse": "reports", "timeout": 3600})

    def value(**primitive: object) -> literals_pb2.Literal:
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(**primitive)))

    execution = identifier_pb2.TaskExecutionIdentifier(
        task_id=template.id,
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(
            node_id="n0",
            execution_id=identifier_pb2.WorkflowExecutionIdentifier(name=f"a{_ID}", **of_task),
        ),
    )
    request = agent_pb2.CreateTaskRequest(
        inputs=literals_pb2.LiteralMap(
            literals={
                "day": value(string_value="2026-11-01"),
                "limit": value(integer=100_000),
                "ratio": value(float_value=0.25),
                "full": value(boolean=True),
            }
        ),
        template=template,
        output_prefix=_PREFIX,
        task_execution_metadata=agent_pb2.TaskExecutionMetadata(
            task_execution_id=execution,
            namespace="analytics-production",
            labels={
                "execution-id": f"a{_ID}",
                "workflow-name": "pipelines-daily",
                "node-id": "n0",
                "task-name": "refresh-orders",
                "team": "orders",
            },
            annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            k8s_service_account="default",
            environment_variables={"FLYTE_INTERNAL_TASK_RETRY": "0"},
        ),
    )
    return Body.of(request.SerializeToString())
