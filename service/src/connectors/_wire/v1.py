"""Flyte 1: ``AsyncAgentService``, ``SyncAgentService`` and ``AgentMetadataService``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors._engine.engine import Engine
from connectors._engine.requests import CreateRequest
from connectors._literals import natives_from_literal_map
from connectors._messages.decoding import check, parse
from connectors._messages.encoding import serialise
from connectors._messages.executions import read_execution_metadata
from connectors._messages.observations import write_line
from connectors._messages.resources import write_resource_v1
from connectors._messages.templates import STREAMED, read_template
from connectors._proto.flyteidl import admin, core
from connectors._registry import Registered
from connectors._wire import listing, tasks
from connectors._wire.dialect import Dialect, caller_of
from connectors._wire.envelopes import Once
from connectors._wire.fallback import Fallback
from connectors._wire.large_messages import LARGE, parsed, read, written
from connectors._wire.rejection import Reason, Rejected
from connectors._wire.status import Status
from connectors._wire.transport import Call, Route, unary
from connectors.errors import InvalidRequest
from connectors.models import LogPage, Resource, TaskCategory

__all__ = ["SERVICES", "routes"]

_ASYNC = "flyteidl.service.AsyncAgentService"
_SYNC = "flyteidl.service.SyncAgentService"
_METADATA = "flyteidl.service.AgentMetadataService"
SERVICES = (_ASYNC, _SYNC, _METADATA)
_STREAMED = STREAMED | {core.LiteralMap, core.LiteralCollection}


def routes(engine: Engine, fallback: Fallback | None = None) -> dict[str, Route]:
    """The routes of Flyte 1's services."""
    sync, metadata = _Sync(engine, fallback), _Metadata(engine, fallback)
    return {
        **tasks.routes(_ASYNC, engine, _Flyte1(), fallback),
        f"/{_SYNC}/ExecuteTaskSync": Route(sync.execute, client_streaming=True, server_streaming=True),
        f"/{_METADATA}/GetAgent": unary(metadata.get),
        f"/{_METADATA}/ListAgents": unary(metadata.list),
    }


class _Flyte1(Dialect):
    protocol = "flyte1"
    calls = admin
    core = core
    inputs = core.LiteralMap
    streamed = _STREAMED

    def read_inputs(self, message: core.LiteralMap) -> Mapping[str, Any]:
        return natives_from_literal_map(message)

    def write_resource(self, resource: Resource) -> admin.Resource:
        return write_resource_v1(resource)

    def write_logs(self, page: LogPage) -> admin.GetTaskLogsResponseBody:
        lines = [write_line(each, admin) for each in page.lines]
        # `results` is what `structured_lines` replaced: some callers read nothing else
        return admin.GetTaskLogsResponseBody(results=[each.message for each in lines], structured_lines=lines)

    def category(self, request: Any) -> TaskCategory:
        asked = request.task_category
        if request.task_type and (asked is None or not asked.name):
            return TaskCategory(request.task_type)  # what callers sent before there were versions
        return super().category(request)


class _Sync:
    """Calls that answer at once."""

    def __init__(self, engine: Engine, fallback: Fallback | None) -> None:
        self._engine = engine
        self._fallback = fallback

    async def execute(self, call: Call) -> None:
        """A header and then the inputs, answered by one message: a header that holds the resource.

        The caller's ``max_dataset_size_bytes`` is not read: the callers that there are do not set it, and take the
        result inline.
        """
        # Both messages first: a caller that is refused while it still sends learns of the broken stream, not of why.
        first = await call.receive()
        second = None if first is None else await call.receive()
        if self._fallback is not None and first is not None:
            category = await read(len(first), lambda: _category_in(first))
            if category is not None and self._fallback.takes(call, "flyte1", category):
                received = [first] if second is None else [first, second]
                await self._fallback.execute(call, received, category, caller_of(call, "flyte1"))
                return
        size = len(first or b"") + len(second or b"")
        request = await read(size, lambda: _do_request(call, first, second))
        resource = await self._engine.do(request)

        def answer() -> bytes:
            header = admin.ExecuteTaskSyncResponseHeader(resource=write_resource_v1(resource))
            return serialise(admin.ExecuteTaskSyncResponse(header=header))

        await call.send(await written(resource, answer))


def _category_in(first: bytes) -> TaskCategory | None:
    """The task type that a stream's first message names; None where it names none."""
    header = _message(first).header
    if header is None or header.template is None or not header.template.type:
        return None
    return TaskCategory(header.template.type, header.template.task_type_version)


def _do_request(call: Call, first: bytes | None, second: bytes | None) -> CreateRequest:
    """What the two messages ask for. :raises Rejected, Malformed, InvalidRequest: they are not as they should be."""
    if first is None:
        raise _ended("its header")
    header = _message(first).header
    if header is None:
        raise InvalidRequest("the stream does not begin with a header")
    if header.template is None:
        raise InvalidRequest("header.template is missing: the request names no task")
    if not header.template.type:
        raise InvalidRequest("header.template.type is empty: it names the connector")
    template = read_template(header.template)
    if second is None and template.interface.inputs:  # a task that declares none may do without
        raise _ended("the inputs that the task declares")
    inputs = _message(second).inputs if second is not None else core.LiteralMap()
    if inputs is None:
        raise InvalidRequest("the header is followed by a message that holds no inputs")
    read_inputs = Once(lambda: natives_from_literal_map(inputs))
    if second is not None and len(second) >= LARGE:
        read_inputs.prepare()
    return CreateRequest(
        caller=caller_of(call, "flyte1"),
        category=TaskCategory(template.type, template.task_type_version),
        output_prefix=header.output_prefix,
        metadata=read_execution_metadata(header.task_execution_metadata),
        template=lambda: template,
        inputs=read_inputs,
        input_bytes=len(second or b""),
    )


def _message(data: bytes) -> admin.ExecuteTaskSyncRequest:
    check(admin.ExecuteTaskSyncRequest, data)
    return parse(admin.ExecuteTaskSyncRequest, data, streamed=_STREAMED)


def _ended(what: str) -> Rejected:
    return Rejected(Status.INVALID_ARGUMENT, Reason.TRUNCATED, f"the stream ended before {what}")


class _Metadata:
    """Which task types there are."""

    def __init__(self, engine: Engine, fallback: Fallback | None) -> None:
        self._registry = engine.registry
        self._fallback = fallback

    async def get(self, call: Call, data: bytes) -> bytes:
        name = (await parsed(admin.GetAgentRequest, data)).name
        if self._fallback is not None and self._fallback.takes_name(call, "flyte1", name):
            return await self._fallback.metadata(call, data)
        return serialise(admin.GetAgentResponse(agent=_agent(listing.find(self._registry, name))))

    async def list(self, call: Call, data: bytes) -> bytes:
        """One agent for each connector, by task type and version: callers keep the last of each task type."""
        await parsed(admin.ListAgentsRequest, data)
        ours = serialise(admin.ListAgentsResponse(agents=[_agent([item]) for item in self._registry]))
        return ours if self._fallback is None else self._fallback.listed(call, "flyte1") + ours


def _agent(items: Sequence[Registered]) -> admin.Agent:
    return admin.Agent(
        name=items[0].connector.name,
        supported_task_types=list(dict.fromkeys(item.category.name for item in items)),
        is_sync=items[0].kind == "sync",
        supported_task_categories=[
            admin.TaskCategory(name=item.category.name, version=item.category.version) for item in items
        ],
    )
