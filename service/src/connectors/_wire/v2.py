"""Flyte 2: ``AsyncConnectorService`` and ``ConnectorMetadataService``.

There is no call that answers at once: a sync connector's call runs as a job, which the engine sees to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors._engine.engine import Engine
from connectors._literals import natives_from_inputs
from connectors._messages.encoding import serialise
from connectors._messages.observations import write_line
from connectors._messages.resources import write_resource_v2
from connectors._messages.templates import STREAMED
from connectors._proto.flyteidl2 import connector, core, task
from connectors._proto.flyteidl2.logs import dataplane
from connectors._registry import Registered
from connectors._wire import listing, tasks
from connectors._wire.dialect import Dialect
from connectors._wire.envelopes import Envelope
from connectors._wire.fallback import Fallback
from connectors._wire.large_messages import parsed
from connectors._wire.transport import Call, Route, unary
from connectors.models import LogPage, Resource

__all__ = ["FLYTE2", "SERVICES", "routes"]

_ASYNC = "flyteidl2.connector.AsyncConnectorService"
_METADATA = "flyteidl2.connector.ConnectorMetadataService"
SERVICES = (_ASYNC, _METADATA)
_STREAMED = STREAMED | {task.Inputs, core.LiteralMap, core.LiteralCollection}


def routes(engine: Engine, fallback: Fallback | None = None) -> dict[str, Route]:
    """The routes of Flyte 2's services."""
    metadata = _Metadata(engine, fallback)
    return {
        **tasks.routes(_ASYNC, engine, FLYTE2, fallback),
        f"/{_METADATA}/GetConnector": unary(metadata.get),
        f"/{_METADATA}/ListConnectors": unary(metadata.list),
    }


class _Flyte2(Dialect):
    protocol = "flyte2"
    calls = connector
    core = core
    inputs = task.Inputs
    streamed = _STREAMED

    def read_inputs(self, message: task.Inputs) -> Mapping[str, Any]:
        return natives_from_inputs(message)

    def write_resource(self, resource: Resource) -> connector.Resource:
        return write_resource_v2(resource)

    def write_logs(self, page: LogPage) -> connector.GetTaskLogsResponseBody:
        lines = [write_line(each, dataplane) for each in page.lines]
        return connector.GetTaskLogsResponseBody(results=[each.message for each in lines], lines=lines)

    def secrets(self, connection: core.Connection | None) -> Mapping[str, str]:
        # its `configs` are the task's own settings, which the template's `custom` holds as well
        return connection.secrets if connection is not None else {}

    def secrets_in(self, envelope: Envelope) -> Mapping[str, str]:
        return self.secrets(envelope.message("connection", core.Connection))

    def stored_form(self, envelope: Envelope) -> bytes:
        return envelope.without("connection")


FLYTE2 = _Flyte2()


class _Metadata:
    """Which task types there are."""

    def __init__(self, engine: Engine, fallback: Fallback | None) -> None:
        self._registry = engine.registry
        self._fallback = fallback

    async def get(self, call: Call, data: bytes) -> bytes:
        name = (await parsed(connector.GetConnectorRequest, data)).name
        if self._fallback is not None and self._fallback.takes_name(call, "flyte2", name):
            return await self._fallback.metadata(call, data)
        found = _connector(listing.find(self._registry, name))
        return serialise(connector.GetConnectorResponse(connector=found))

    async def list(self, call: Call, data: bytes) -> bytes:
        """One entry for each connector, by task type and version: callers keep the last of each task type."""
        await parsed(connector.ListConnectorsRequest, data)
        ours = serialise(connector.ListConnectorsResponse(connectors=[_connector([item]) for item in self._registry]))
        return ours if self._fallback is None else self._fallback.listed(call, "flyte2") + ours


def _connector(items: Sequence[Registered]) -> connector.Connector:
    return connector.Connector(
        name=items[0].connector.name,
        supported_task_categories=[
            connector.TaskCategory(name=item.category.name, version=item.category.version) for item in items
        ],
    )
