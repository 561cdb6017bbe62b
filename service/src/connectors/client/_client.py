"""The client: what it is given is written as messages, and the answers are read; its servers are taken in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from ssl import SSLContext
from types import ModuleType, TracebackType
from typing import Any, Literal, Self, TypeVar

from grpclib.client import Channel, ServiceMethod, StreamStreamMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.errors import ErrorCodes
from h2.exceptions import StreamClosedError

from connectors._literals import inputs as write_inputs_v2
from connectors._literals import literal_map
from connectors._messages.decoding import Malformed, parse
from connectors._messages.encoding import serialise
from connectors._messages.executions import write_execution_metadata
from connectors._messages.instants import write_duration, write_timestamp
from connectors._messages.observations import read_line, read_metrics
from connectors._messages.resources import read_resource
from connectors._messages.templates import write_template
from connectors._proto.flyteidl import admin as admin_v1
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import connector as connector_v2
from connectors._proto.flyteidl2 import core as core_v2
from connectors.client._channel import GOING_AWAY, NO_GRPC, DrainingChannel
from connectors.models import (
    LiteralType,
    LogPage,
    MetricResult,
    Resource,
    TaskCategory,
    TaskExecutionMetadata,
    TaskTemplate,
)

__all__ = ["CallFailed", "ConnectorClient", "ListedConnector"]

M = TypeVar("M")

# as grpclib words a reset by the server; whether an enum is its name or its number depends on Python's release
_REFUSED = {f"Stream reset by remote party, error_code: {each}" for each in (7, ErrorCodes.REFUSED_STREAM)}


class CallFailed(Exception):
    """The server answered with a status other than OK, or did not answer.

    ``status`` is the gRPC status's name (NOT_FOUND, UNAVAILABLE …), ``message`` the server's sentence. ``taken`` is
    False where the server is known not to have begun the call, nor the one that was asked next.
    """

    def __init__(self, status: str, message: str, *, taken: bool = True) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.taken = taken


@dataclass(frozen=True)
class ListedConnector:
    """A connector as the server lists it."""

    name: str
    categories: tuple[TaskCategory, ...]
    is_sync: bool = False
    """Flyte 1 alone says so: over Flyte 2 every connector is served as a job."""


@dataclass(frozen=True)
class _Dialect:
    """One protocol: its services, and its messages."""

    tasks: str
    calls: ModuleType
    core: ModuleType


_DIALECTS = {
    "flyte1": _Dialect("flyteidl.service.AsyncAgentService", admin_v1, core_v1),
    "flyte2": _Dialect("flyteidl2.connector.AsyncConnectorService", connector_v2, core_v2),
}


class ConnectorClient:
    """Calls a connector service. Use it as an asynchronous context.

    A call that a server is known not to have begun is made once more, of the next one, as gRPC's own clients do,
    whatever their policy (https://grpc.io/docs/guides/retry/#transparent-retry). Nothing else is repeated.
    Calls in flight are answered by a server that shuts down meanwhile; the calls after them go to the next one.

    Every method raises :class:`CallFailed`. What a method is given and cannot write (an input that no literal holds)
    is a ValueError, or :class:`connectors.InvalidRequest` where it does not fit the task's interface.
    """

    def __init__(
        self,
        addresses: str | Iterable[str],
        protocol: Literal["flyte1", "flyte2"] = "flyte1",
        *,
        timeout: float | None = 10.0,
        ssl: SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        """:param addresses: ``host:port``, one or several; an IPv6 address in brackets.
        :param timeout: for one call, in seconds; sent to the server as its deadline. None: no bound.
        :param ssl: None for no encryption; else :func:`tls`, or a context that offers ``h2`` by ALPN.
        :param server_name: the name that the servers' certificates are for, where it is not the address's host.
        :raises ValueError: an address has no port, or there is none; ``protocol`` is neither of the two.
        """
        if protocol not in _DIALECTS:
            raise ValueError(f"{protocol!r} is not a protocol: there are {' and '.join(map(repr, _DIALECTS))}")
        self._dialect = _DIALECTS[protocol]
        self._addresses = [_host_and_port(each) for each in ([addresses] if isinstance(addresses, str) else addresses)]
        if not self._addresses:
            raise ValueError("a client needs at least one address")
        self._protocol = protocol
        self._timeout = timeout
        self._ssl = ssl
        self._config = Configuration(ssl_target_name_override=server_name or None)
        self._channels: list[DrainingChannel] = []
        self._turn = 0

    async def __aenter__(self) -> Self:
        self._channels = [
            DrainingChannel(host, port, codec=_Bytes(), ssl=self._ssl, config=self._config)
            for host, port in self._addresses
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            channel.close()
        for channel in self._channels:  # of which none waits for another's end
            await channel.aclose()

    async def list_connectors(self) -> tuple[ListedConnector, ...]:
        """What the server serves."""
        if self._protocol == "flyte1":
            agents = await self._unary(
                "/flyteidl.service.AgentMetadataService/ListAgents",
                admin_v1.ListAgentsRequest(),
                admin_v1.ListAgentsResponse,
            )
            return tuple(_listed(each, is_sync=each.is_sync) for each in agents.agents)
        found = await self._unary(
            "/flyteidl2.connector.ConnectorMetadataService/ListConnectors",
            connector_v2.ListConnectorsRequest(),
            connector_v2.ListConnectorsResponse,
        )
        return tuple(_listed(each, is_sync=False) for each in found.connectors)

    async def create(
        self,
        task: TaskTemplate,
        inputs: Mapping[str, Any] | None = None,
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
        secrets: Mapping[str, str] | None = None,
        idempotency_key: str = "",
    ) -> bytes:
        """Start a job; returns its resource meta.

        :param secrets: values by name, which Flyte 2 sends along; Flyte 1 has no place for them.
        :param idempotency_key: names the request: the same name, the same job. Printable ASCII.
        """
        calls, core = self._dialect.calls, self._dialect.core
        request = calls.CreateTaskRequest(
            inputs=self._inputs(inputs or {}, task.interface.inputs),
            template=write_template(task, core),
            output_prefix=output_prefix,
            task_execution_metadata=write_execution_metadata(metadata or TaskExecutionMetadata(), core, calls),
            **self._connection(secrets),
        )
        answer = await self._of_task("CreateTask", request, calls.CreateTaskResponse, idempotency_key)
        meta: bytes = answer.resource_meta
        return meta

    async def get(
        self, category: TaskCategory, meta: bytes, *, output_prefix: str = "", secrets: Mapping[str, str] | None = None
    ) -> Resource:
        """The job's state."""
        calls = self._dialect.calls
        request = calls.GetTaskRequest(
            **self._job(category, meta), output_prefix=output_prefix, **self._connection(secrets)
        )
        answer = await self._of_task("GetTask", request, calls.GetTaskResponse)
        return read_resource(answer.resource or calls.Resource())

    async def delete(self, category: TaskCategory, meta: bytes, *, secrets: Mapping[str, str] | None = None) -> None:
        """Cancel the job."""
        calls = self._dialect.calls
        request = calls.DeleteTaskRequest(**self._job(category, meta), **self._connection(secrets))
        await self._of_task("DeleteTask", request, calls.DeleteTaskResponse)

    async def get_logs(self, category: TaskCategory, meta: bytes, *, lines: int = 0, token: str = "") -> LogPage:
        """A page of the job's log, from ``token`` on; ``lines`` at most, 0 for as many as the connector likes."""
        calls = self._dialect.calls
        request = calls.GetTaskLogsRequest(**self._job(category, meta), lines=lines, token=token)
        path = f"/{self._dialect.tasks}/GetTaskLogs"
        received = await self._call(UnaryStreamMethod, path, [serialise(request)], answers=None)
        answers = [_parsed(calls.GetTaskLogsResponse, each) for each in received]
        found: list[Any] = []
        following = ""
        for answer in answers:
            if answer.header is not None:
                following = answer.header.token
            if answer.body is not None:
                found += answer.body.structured_lines if calls is admin_v1 else answer.body.lines
        return LogPage(tuple(read_line(each) for each in found), following)

    async def get_metrics(
        self,
        category: TaskCategory,
        meta: bytes,
        queries: Sequence[str] = (),
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        step: timedelta | None = None,
    ) -> tuple[MetricResult, ...]:
        """The job's metrics."""
        calls = self._dialect.calls
        request = calls.GetTaskMetricsRequest(
            **self._job(category, meta),
            queries=list(queries),
            start_time=write_timestamp(start, "start"),
            end_time=write_timestamp(end, "end"),
            step=write_duration(step, "step"),
        )
        answer = await self._of_task("GetTaskMetrics", request, calls.GetTaskMetricsResponse)
        return read_metrics(answer.results)

    async def do(
        self,
        task: TaskTemplate,
        inputs: Mapping[str, Any] | None = None,
        *,
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
        idempotency_key: str = "",
    ) -> Resource:
        """Carry out a sync connector's call.

        :raises NotImplementedError: Flyte 2 has no such call: create and poll.
        """
        if self._protocol != "flyte1":
            raise NotImplementedError("Flyte 2 has no call that answers at once: use create() and get()")
        header = admin_v1.CreateRequestHeader(
            template=write_template(task, core_v1),
            output_prefix=output_prefix,
            task_execution_metadata=write_execution_metadata(metadata or TaskExecutionMetadata(), core_v1, admin_v1),
        )
        values = self._inputs(inputs or {}, task.interface.inputs)
        parts = [admin_v1.ExecuteTaskSyncRequest(header=header), admin_v1.ExecuteTaskSyncRequest(inputs=values)]
        path = "/flyteidl.service.SyncAgentService/ExecuteTaskSync"
        data = [serialise(each) for each in parts]
        answers = await self._call(StreamStreamMethod, path, data, answers=1, idempotency_key=idempotency_key)
        first = _parsed(admin_v1.ExecuteTaskSyncResponse, answers[0]).header
        if first is None or first.resource is None:
            raise CallFailed("INTERNAL", "the answer does not begin with a header that holds a resource")
        return read_resource(first.resource)

    # --- their common steps

    def _job(self, category: TaskCategory, meta: bytes) -> dict[str, Any]:
        message = self._dialect.calls.TaskCategory(name=category.name, version=category.version)
        return {"resource_meta": meta, "task_category": message}

    def _inputs(self, values: Mapping[str, Any], declared: Mapping[str, LiteralType]) -> Any:
        if self._protocol == "flyte1":
            return literal_map(values, declared, role="input")
        return write_inputs_v2(values, declared)

    def _connection(self, secrets: Mapping[str, str] | None) -> dict[str, Any]:
        if not secrets or self._protocol == "flyte1":
            return {}
        return {"connection": core_v2.Connection(secrets=dict(secrets))}

    async def _of_task(self, name: str, request: Any, answer: type[Any], idempotency_key: str = "") -> Any:
        return await self._unary(f"/{self._dialect.tasks}/{name}", request, answer, idempotency_key)

    async def _unary(self, path: str, request: Any, answer: type[Any], idempotency_key: str = "") -> Any:
        data = [serialise(request)]
        answers = await self._call(UnaryUnaryMethod, path, data, answers=1, idempotency_key=idempotency_key)
        return _parsed(answer, answers[0])

    async def _call(
        self,
        kind: type[ServiceMethod[bytes, bytes]],
        path: str,
        messages: Sequence[bytes],
        *,
        answers: int | None,
        idempotency_key: str = "",
    ) -> list[bytes]:
        """:param answers: how many to wait for; None for all that come."""
        until = None if self._timeout is None else asyncio.get_running_loop().time() + self._timeout
        metadata = {"idempotency-key": idempotency_key} if idempotency_key else None

        def once() -> asyncio.Task[list[bytes]]:
            # A task of its own: grpclib wakes a call that has failed by cancelling its task, which then counts as
            # cancelled for good (Task.cancelling), and anyio's and asyncio's scopes around it would go by that.
            return asyncio.create_task(self._try(kind, path, messages, metadata, answers=answers, until=until))

        try:
            return await once()
        except CallFailed as failure:
            if failure.taken:
                raise
        return await once()

    async def _try(
        self,
        kind: type[ServiceMethod[bytes, bytes]],
        path: str,
        messages: Sequence[bytes],
        metadata: Mapping[str, str] | None,
        *,
        answers: int | None,
        until: float | None,
    ) -> list[bytes]:
        """:param until: an instant on the event loop's clock."""
        method = kind(await self._channel(until), path, bytes, bytes)
        with _failures():
            async with method.open(timeout=_left(until), metadata=metadata) as stream:
                with suppress(StreamClosedError):  # the answer came first, and is whole
                    for position, message in enumerate(messages, 1):
                        await stream.send_message(message, end=position == len(messages))
                received: list[bytes] = []
                while answers is None or len(received) < answers:
                    message_or_end = await stream.recv_message()
                    if message_or_end is None:
                        break
                    received.append(message_or_end)
        if answers is not None and len(received) < answers:
            raise CallFailed("INTERNAL", "the server ended the call without an answer")
        return received

    async def _channel(self, until: float | None) -> Channel:
        """The next server's connection; one that cannot be reached is passed over, and has no more than its share of
        the time.
        """
        if not self._channels:
            raise RuntimeError("use the client as an asynchronous context: async with ConnectorClient(…) as client")
        failure: OSError | None = None
        first = self._turn
        self._turn = (first + 1) % len(self._channels)
        in_turn = self._channels[first:] + self._channels[:first]  # each once, whatever other calls do meanwhile
        for number, channel in enumerate(in_turn):
            left = _left(until)
            try:
                async with asyncio.timeout(None if left is None else left / (len(in_turn) - number)):
                    await channel.__connect__()
            except OSError as error:  # a timeout too
                failure = error
            else:
                return channel
        reason = str(failure) or type(failure).__name__
        told = reason if reason == NO_GRPC else f"no server can be reached: {reason}"
        raise CallFailed("UNAVAILABLE", told) from failure


def _left(until: float | None) -> float | None:
    """Seconds, 0 or more."""
    return None if until is None else max(0.0, until - asyncio.get_running_loop().time())


class _Bytes(CodecBase):
    """Messages are written and read here, not by grpclib."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        encoded: bytes = message
        return encoded

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except GRPCError as error:
        raise CallFailed(error.status.name, error.message or "") from error
    except TimeoutError as error:
        raise CallFailed("DEADLINE_EXCEEDED", "no answer in time") from error
    except (StreamTerminatedError, OSError) as error:
        text = str(error)
        taken = not (text == GOING_AWAY or text in _REFUSED)
        raise CallFailed("UNAVAILABLE", f"the connection was lost: {text}", taken=taken) from error
    except (ProtocolError, Malformed) as error:
        raise CallFailed("INTERNAL", str(error)) from error


def _parsed(answer: type[M], data: bytes) -> M:
    with _failures():
        return parse(answer, data)


def _listed(message: admin_v1.Agent | connector_v2.Connector, *, is_sync: bool) -> ListedConnector:
    categories = tuple(TaskCategory(each.name, each.version) for each in message.supported_task_categories)
    return ListedConnector(message.name, categories, is_sync)


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal()):
        raise ValueError(f"{address!r} is not an address: host:port is needed")
    return host.removeprefix("[").removesuffix("]"), int(port)
