"""Requests of both protocols, as Flyte's own messages write them."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from flyteidl.admin import agent_pb2
from flyteidl.core import literals_pb2
from flyteidl.core import tasks_pb2 as tasks_1
from flyteidl2.connector import connector_pb2
from flyteidl2.core import tasks_pb2 as tasks_2

__all__ = ["EXECUTE", "PROTOCOLS", "Dialect", "header"]

EXECUTE = "/flyteidl.service.SyncAgentService/ExecuteTaskSync"


@dataclass(frozen=True)
class Dialect:
    name: str
    tasks: str
    lists: str
    gets: str
    calls: ModuleType
    core: ModuleType

    def create(self, task_type: str = "theirs", **fields: Any) -> bytes:
        template = self.core.TaskTemplate(type=task_type)
        # a field that this release does not know, which has to go on with the rest
        unknown = b"\xfa\x3e\x03new"
        message = self.calls.CreateTaskRequest(template=template, output_prefix="s3://b/1", **fields)
        return bytes(message.SerializeToString()) + unknown

    def job(self, method: str, task_type: str = "theirs", meta: bytes = b"\x80\x04 a pickle") -> bytes:
        category = self.calls.TaskCategory(name=task_type)
        message = getattr(self.calls, f"{method}Request")(task_category=category, resource_meta=meta)
        return bytes(message.SerializeToString())

    def listed(self, answer: bytes) -> list[str]:
        response = (
            self.calls.ListAgentsResponse if self.name == "flyte1" else self.calls.ListConnectorsResponse
        ).FromString(answer)
        entries = response.agents if self.name == "flyte1" else response.connectors
        return [entry.name for entry in entries]


PROTOCOLS = [
    Dialect(
        "flyte1",
        "/flyteidl.service.AsyncAgentService",
        "/flyteidl.service.AgentMetadataService/ListAgents",
        "/flyteidl.service.AgentMetadataService/GetAgent",
        agent_pb2,
        tasks_1,
    ),
    Dialect(
        "flyte2",
        "/flyteidl2.connector.AsyncConnectorService",
        "/flyteidl2.connector.ConnectorMetadataService/ListConnectors",
        "/flyteidl2.connector.ConnectorMetadataService/GetConnector",
        connector_pb2,
        tasks_2,
    ),
]


def header(task_type: str = "theirs") -> tuple[bytes, bytes]:
    """The two messages of a call that is answered at once."""
    first = agent_pb2.ExecuteTaskSyncRequest(
        header=agent_pb2.CreateRequestHeader(template=tasks_1.TaskTemplate(type=task_type))
    )
    second = agent_pb2.ExecuteTaskSyncRequest(inputs=literals_pb2.LiteralMap())
    return bytes(first.SerializeToString()), bytes(second.SerializeToString())
