"""Who calls: identifiers and the metadata of an execution, the same in both protocols but for their classes."""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeAlias

from connectors import models
from connectors._proto.flyteidl import admin as admin_v1
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import connector as connector_v2
from connectors._proto.flyteidl2 import core as core_v2

__all__ = ["read_execution_metadata", "read_identifier", "write_execution_metadata", "write_identifier"]

IdentifierMessage: TypeAlias = core_v1.Identifier | core_v2.Identifier
MetadataMessage: TypeAlias = admin_v1.TaskExecutionMetadata | connector_v2.TaskExecutionMetadata
_ExecutionMessage: TypeAlias = core_v1.TaskExecutionIdentifier | core_v2.TaskExecutionIdentifier
_IdentityMessage: TypeAlias = core_v1.Identity | core_v2.Identity


def read_identifier(message: IdentifierMessage | None) -> models.Identifier:
    """The name of an entity; an absent one is empty."""
    if message is None:
        return models.Identifier()
    return models.Identifier(
        project=message.project,
        domain=message.domain,
        name=message.name,
        version=message.version,
        org=message.org,
        resource_type=message.resource_type.name or "UNSPECIFIED",
    )


def write_identifier(identifier: models.Identifier, core: ModuleType) -> Any:
    """``core.Identifier``. :raises ValueError: its ``resource_type`` is none of Flyte's."""
    return core.Identifier(
        resource_type=core.ResourceType.from_string(identifier.resource_type),
        project=identifier.project,
        domain=identifier.domain,
        name=identifier.name,
        version=identifier.version,
        org=identifier.org,
    )


def read_execution_metadata(
    message: MetadataMessage | None, *, task_id: models.Identifier | None = None
) -> models.TaskExecutionMetadata:
    """Where a call comes from; what is absent is empty.

    :param task_id: the task's, where it was read before.
    """
    if message is None:
        return models.TaskExecutionMetadata()
    return models.TaskExecutionMetadata(
        task_execution_id=_read_execution(message.task_execution_id, task_id),
        namespace=message.namespace,
        labels=message.labels,
        annotations=message.annotations,
        k8s_service_account=message.k8s_service_account,
        environment_variables=message.environment_variables,
        identity=_read_identity(message.identity),
    )


def write_execution_metadata(metadata: models.TaskExecutionMetadata, core: ModuleType, calls: ModuleType) -> Any:
    """``calls.TaskExecutionMetadata``.

    :param calls: ``flyteidl.admin`` or ``flyteidl2.connector`` of the generated messages.
    """
    identity = metadata.identity
    return calls.TaskExecutionMetadata(
        task_execution_id=_write_execution(metadata.task_execution_id, core),
        namespace=metadata.namespace,
        labels=dict(metadata.labels),
        annotations=dict(metadata.annotations),
        k8s_service_account=metadata.k8s_service_account,
        environment_variables=dict(metadata.environment_variables),
        identity=core.Identity(
            iam_role=identity.iam_role,
            k8s_service_account=identity.k8s_service_account,
            execution_identity=identity.execution_identity,
        ),
    )


def _read_execution(
    message: _ExecutionMessage | None, task_id: models.Identifier | None
) -> models.TaskExecutionId | None:
    if message is None:
        return None
    node = message.node_execution_id
    execution = node.execution_id if node is not None else None
    return models.TaskExecutionId(
        task_id=read_identifier(message.task_id) if task_id is None else task_id,
        project=execution.project if execution is not None else "",
        domain=execution.domain if execution is not None else "",
        execution=execution.name if execution is not None else "",
        org=execution.org if execution is not None else "",
        node_id=node.node_id if node is not None else "",
        retry_attempt=message.retry_attempt,
    )


def _write_execution(execution: models.TaskExecutionId | None, core: ModuleType) -> Any:
    if execution is None:
        return None
    workflow = core.WorkflowExecutionIdentifier(
        project=execution.project, domain=execution.domain, name=execution.execution, org=execution.org
    )
    return core.TaskExecutionIdentifier(
        task_id=write_identifier(execution.task_id, core),
        node_execution_id=core.NodeExecutionIdentifier(node_id=execution.node_id, execution_id=workflow),
        retry_attempt=execution.retry_attempt,
    )


def _read_identity(message: _IdentityMessage | None) -> models.Identity:
    if message is None:
        return models.Identity()
    return models.Identity(message.iam_role, message.k8s_service_account, message.execution_identity)
