"""Another connector service, of grpcio's: it answers what its test says, and keeps what it was sent, as bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from flyteidl.admin import agent_pb2
from flyteidl2.connector import connector_pb2

__all__ = ["LIST_1", "LIST_2", "OtherService", "Received", "agent", "serving"]

LIST_1 = "/flyteidl.service.AgentMetadataService/ListAgents"
LIST_2 = "/flyteidl2.connector.ConnectorMetadataService/ListConnectors"
Context = grpc.aio.ServicerContext[bytes, bytes]
Handle = Callable[["Received", Context], Awaitable[None]]


@dataclass
class Received:
    """One call."""

    path: str
    metadata: list[tuple[str, Any]]
    seconds: float | None
    """Until its deadline."""
    messages: list[bytes] = field(default_factory=list)


def agent(name: str, *task_types: str, is_sync: bool = False) -> agent_pb2.Agent:
    categories = [agent_pb2.TaskCategory(name=each) for each in task_types]
    return agent_pb2.Agent(name=name, is_sync=is_sync, supported_task_categories=categories)


class OtherService:
    def __init__(self, *task_types: str) -> None:
        """:param task_types: which it lists, in both protocols, each as a connector of its own."""
        self.agents = [agent(f"their {each}", each) for each in task_types]
        self.connectors = [
            connector_pb2.Connector(
                name=f"their {each}", supported_task_categories=[connector_pb2.TaskCategory(name=each)]
            )
            for each in task_types
        ]
        self.calls: list[Received] = []
        self.answers: dict[str, Sequence[bytes]] = {}
        """By path."""
        self.handle: Handle | None = None
        """Comes before the answers; it may end the call with a status."""
        self.address = ""

    async def listed(self, path: str) -> bytes:
        if path == LIST_1:
            return bytes(agent_pb2.ListAgentsResponse(agents=self.agents).SerializeToString())
        return bytes(connector_pb2.ListConnectorsResponse(connectors=self.connectors).SerializeToString())

    def handler(self, details: grpc.HandlerCallDetails) -> Any:
        path, metadata = details.method, list(details.invocation_metadata)

        async def answer(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            received = Received(path, metadata, context.time_remaining())
            if path in {LIST_1, LIST_2}:
                yield await self.listed(path)
                return
            self.calls.append(received)
            async for message in requests:
                received.messages.append(message)
            if self.handle is not None:
                await self.handle(received, context)
            for each in self.answers.get(path, [b""]):
                yield each

        return grpc.stream_stream_rpc_method_handler(answer)

    @property
    def only(self) -> Received:
        [call] = self.calls
        return call


class _Generic(grpc.GenericRpcHandler):
    def __init__(self, service: OtherService) -> None:
        self._service = service

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._service.handler(handler_call_details)


@asynccontextmanager
async def serving(
    service: OtherService, *, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[OtherService]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers([_Generic(service)])
    address = f"127.0.0.1:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    service.address = f"127.0.0.1:{bound}"
    try:
        yield service
    finally:
        await asyncio.shield(server.stop(None))
