"""What flytekit's service is given beside its own connectors, in its own environment: the emulator's credentials, which
are none, and a connector that has logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import google.auth
from flyteidl.admin.agent_pb2 import GetTaskLogsResponse, GetTaskLogsResponseHeader
from flyteidl.core.execution_pb2 import TaskExecution
from flytekit.extend.backend.base_connector import AsyncConnectorBase, ConnectorRegistry, Resource, ResourceMeta
from google.auth.credentials import AnonymousCredentials

_NOBODY: Any = AnonymousCredentials
google.auth.default = lambda *_, **__: (_NOBODY(), "example-project")


@dataclass
class Chat(ResourceMeta):  # type: ignore[misc]  # flytekit's types are in the other environment
    number: int


class Chatty(AsyncConnectorBase):  # type: ignore[misc]  # as above
    name = "Chatty Connector"

    def __init__(self) -> None:
        super().__init__(task_type_name="chatty", metadata_type=Chat)

    async def create(self, task_template: Any, **kwargs: Any) -> Chat:
        return Chat(7)

    async def get(self, resource_meta: Chat, **kwargs: Any) -> Any:
        return Resource(phase=TaskExecution.RUNNING)

    async def delete(self, resource_meta: Chat, **kwargs: Any) -> None:
        pass

    async def get_logs(self, resource_meta: Chat, **kwargs: Any) -> Any:
        return GetTaskLogsResponse(header=GetTaskLogsResponseHeader(token=str(resource_meta.number)))


ConnectorRegistry.register(Chatty())
