"""How the store's payloads are written: as messages, so that a later release reads what an earlier one wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import betterproto2

from connectors._engine.beside_the_loop import LARGE
from connectors._engine.requests import Caller, CreateRequest, StoredForms
from connectors._messages.decoding import parse
from connectors._messages.encoding import serialise
from connectors._messages.resources import read_error, read_resource, write_error, write_resource_v2
from connectors._messages.written import WrittenOutputs, holds_many
from connectors._proto.flyteidl import admin
from connectors._proto.flyteidl2 import connector
from connectors._wire.envelopes import Envelope
from connectors._wire.tasks import create_request
from connectors._wire.v2 import FLYTE2
from connectors.models import LiteralType, Resource

__all__ = ["MessageForms"]


@dataclass(eq=False, repr=False)
class StoredResult(betterproto2.Message):
    """Flyte 2's resource, and beside it the error that it has no place for."""

    resource: connector.Resource | None = betterproto2.field(  # noqa: RUF009 - a declaration, as in generated code
        1, betterproto2.TYPE_MESSAGE, optional=True
    )
    error: admin.AgentError | None = betterproto2.field(  # noqa: RUF009 - as above
        2, betterproto2.TYPE_MESSAGE, optional=True
    )


class MessageForms(StoredForms):
    """Results as :class:`StoredResult`, requests as Flyte 2's ``CreateTaskRequest`` without its connection."""

    def fit(self, resource: Resource, declared: Mapping[str, LiteralType]) -> Resource:
        if resource.outputs is None:
            return resource
        return replace(resource, outputs=WrittenOutputs.of(resource.outputs, declared))

    def is_large(self, resource: Resource) -> bool:
        return holds_many(resource.outputs)

    def encode_result(self, resource: Resource) -> bytes:
        error = write_error(resource.error) if resource.error is not None else None
        return serialise(StoredResult(resource=write_resource_v2(resource), error=error))

    def decode_result(self, data: bytes) -> Resource:
        stored = parse(StoredResult, data)
        message = stored.resource or connector.Resource()
        resource = read_resource(message)
        if message.outputs is not None:
            resource = replace(resource, outputs=WrittenOutputs(message.outputs, many=len(data) >= LARGE))
        return resource if stored.error is None else replace(resource, error=read_error(stored.error))

    def decode_request(self, data: bytes, caller: Caller) -> CreateRequest:
        return create_request(FLYTE2, Envelope(connector.CreateTaskRequest, data), caller)
