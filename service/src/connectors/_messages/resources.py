"""A job's state and its results: ``Resource`` messages of both protocols to :class:`connectors.models.Resource` and
back.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal, TypeAlias, cast

from connectors import models
from connectors._literals import (
    native_to_struct,
    natives_from_inputs,
    natives_from_literal_map,
    struct_to_native,
)
from connectors._messages.written import write_outputs_v1, write_outputs_v2
from connectors._proto.flyteidl import admin as admin_v1
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import connector as connector_v2
from connectors._proto.flyteidl2 import core as core_v2
from connectors.models import Phase

__all__ = ["is_phase_alone", "read_error", "read_resource", "write_error", "write_resource_v1", "write_resource_v2"]

ResourceMessage: TypeAlias = admin_v1.Resource | connector_v2.Resource

_PHASES = {phase.value: phase for phase in Phase}
_STATES = {
    Phase.UNDEFINED: admin_v1.State.RETRYABLE_FAILURE,  # the number 0: what an absent state reads as
    Phase.QUEUED: admin_v1.State.PENDING,
    Phase.INITIALIZING: admin_v1.State.PENDING,
    Phase.WAITING_FOR_RESOURCES: admin_v1.State.PENDING,
    Phase.RUNNING: admin_v1.State.RUNNING,
    Phase.SUCCEEDED: admin_v1.State.SUCCEEDED,
    Phase.ABORTED: admin_v1.State.PERMANENT_FAILURE,
    Phase.FAILED: admin_v1.State.PERMANENT_FAILURE,
    Phase.RETRYABLE_FAILED: admin_v1.State.RETRYABLE_FAILURE,
}
"""The states that phases replaced: callers of the first releases read nothing else."""


def is_phase_alone(resource: models.Resource) -> bool:
    """Whether a resource says nothing but its phase: most polls' answer."""
    return (
        resource.outputs is None
        and resource.custom_info is None
        and resource.error is None
        and not resource.log_links
        and resource.message == ""
    )


def write_resource_v1(resource: models.Resource) -> admin_v1.Resource:
    """Flyte 1's resource. :raises Unencodable: a value has no form on the wire; the message names it."""
    message = admin_v1.Resource(state=_STATES[resource.phase], **_parts(resource, core_v1))
    if resource.outputs is not None:
        message.outputs = write_outputs_v1(resource.outputs)
    if resource.error is not None:
        message.agent_error = write_error(resource.error)
    return message


def write_resource_v2(resource: models.Resource) -> connector_v2.Resource:
    """Flyte 2's resource; it has no place for an error code. :raises: as :func:`write_resource_v1` does."""
    message = connector_v2.Resource(**_parts(resource, core_v2))
    if resource.outputs is not None:
        message.outputs = write_outputs_v2(resource.outputs)
    for link, log in zip(message.log_links, resource.log_links, strict=True):
        link.ready = bool(log.ready)
    return message


def read_resource(message: ResourceMessage) -> models.Resource:
    """What a resource says.

    :raises InvalidRequest: an output has no Python form; the message names it.
    """
    error = None
    if isinstance(message, admin_v1.Resource):
        values = natives_from_literal_map(message.outputs, "output") if message.outputs is not None else None
        links = tuple(models.TaskLog(each.uri, each.name) for each in message.log_links)
        error = read_error(message.agent_error) if message.agent_error is not None else None
    else:
        values = natives_from_inputs(message.outputs, "output") if message.outputs is not None else None
        links = tuple(models.TaskLog(each.uri, each.name, each.ready) for each in message.log_links)
    return models.Resource(
        phase=_PHASES.get(message.phase, Phase.UNDEFINED),
        message=message.message,
        log_links=links,
        outputs=values,
        custom_info=struct_to_native(message.custom_info, "custom_info") if message.custom_info is not None else None,
        error=error,
    )


def write_error(error: models.ResourceError) -> admin_v1.AgentError:
    """An error's code, and whose fault it is."""
    return admin_v1.AgentError(
        code=_text(error.code),
        kind=admin_v1.AgentErrorKind.RECOVERABLE if error.recoverable else admin_v1.AgentErrorKind.NON_RECOVERABLE,
        origin=core_v1.ExecutionErrorErrorKind.from_string(error.origin),
    )


def read_error(message: admin_v1.AgentError) -> models.ResourceError:
    """What :func:`write_error` wrote."""
    origin = cast('Literal["UNKNOWN", "USER", "SYSTEM"]', message.origin.name or "UNKNOWN")
    return models.ResourceError(message.code, message.kind == admin_v1.AgentErrorKind.RECOVERABLE, origin)


def _parts(resource: models.Resource, core: ModuleType) -> dict[str, Any]:
    """What both protocols' resources have in common."""
    info = resource.custom_info
    return {
        "phase": core.TaskExecutionPhase(resource.phase.value),
        "message": _text(resource.message),
        "log_links": [core.TaskLog(uri=_text(each.uri), name=_text(each.name)) for each in resource.log_links],
        "custom_info": native_to_struct(info) if info is not None else None,
    }


def _text(value: str) -> str:
    """Text for people, as UTF-8 can express it: a platform's message may hold half a character, and a poll must be
    answered all the same.
    """
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
