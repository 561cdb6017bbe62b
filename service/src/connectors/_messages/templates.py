"""Task templates: ``TaskTemplate`` messages of both protocols to :class:`connectors.models.TaskTemplate` and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

from connectors import models
from connectors._literals import literal_type, literal_type_message, native_to_struct, struct_to_native
from connectors._messages.executions import read_identifier, write_identifier
from connectors._messages.instants import read_duration, write_duration
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.google.protobuf import ListValue, Struct

__all__ = [
    "STREAMED",
    "TemplateMessage",
    "read_interface",
    "read_task_metadata",
    "read_template",
    "read_values",
    "write_template",
]

STREAMED = frozenset({Struct, ListValue})
"""What of a checked template can be read as a stream (:func:`connectors._messages.decoding.parse`)."""

TemplateMessage: TypeAlias = core_v1.TaskTemplate | core_v2.TaskTemplate
_InterfaceMessage: TypeAlias = core_v1.TypedInterface | core_v2.TypedInterface
_MetadataMessage: TypeAlias = core_v1.TaskMetadata | core_v2.TaskMetadata
_VariablesMessage: TypeAlias = core_v1.VariableMap | core_v2.VariableMap
_ContainerMessage: TypeAlias = core_v1.Container | core_v2.Container
_EntryMessage: TypeAlias = core_v1.ResourcesResourceEntry | core_v2.ResourcesResourceEntry


def read_template(message: TemplateMessage, *, identifier: models.Identifier | None = None) -> models.TaskTemplate:
    """The task as connectors see it.

    :param identifier: its id, where that was read before.
    :raises InvalidRequest: a part has no Python form; the message names it.
    """
    return models.TaskTemplate(
        **read_values(message, identifier=identifier),
        interface=read_interface(message.interface),
        metadata=read_task_metadata(message.metadata),
    )


def read_values(message: TemplateMessage, *, identifier: models.Identifier | None = None) -> dict[str, Any]:
    """What a :class:`connectors.models.TaskTemplate` holds but for its ``interface`` and ``metadata``, by name.

    :param identifier: its id, where that was read before.
    :raises InvalidRequest: a part has no Python form; the message names it.
    """
    sql, pod, security = message.sql, message.k8s_pod, message.security_context
    return {
        "type": message.type,
        "task_type_version": message.task_type_version,
        "id": read_identifier(message.id) if identifier is None else identifier,
        "custom": struct_to_native(message.custom, "template.custom"),
        "config": message.config,
        "sql": models.Sql(sql.statement, sql.dialect.name or "UNDEFINED") if sql is not None else None,
        "container": _read_container(message.container) if message.container is not None else None,
        "k8s_pod": struct_to_native(pod.pod_spec, "template.k8s_pod.pod_spec") if pod is not None else None,
        "secrets": tuple(
            models.SecretReference(each.group, each.key, each.group_version, each.env_var) for each in security.secrets
        )
        if security is not None
        else (),
    }


def write_template(task: models.TaskTemplate, core: ModuleType) -> Any:
    """``core.TaskTemplate``.

    :param core: ``flyteidl.core`` or ``flyteidl2.core`` of the generated messages.
    :raises ValueError: a part has no form on the wire; the message names it.
    """
    message = core.TaskTemplate(
        id=write_identifier(task.id, core),
        type=task.type,
        metadata=_write_metadata(task.metadata, core),
        interface=core.TypedInterface(
            inputs=_write_variables(task.interface.inputs, core), outputs=_write_variables(task.interface.outputs, core)
        ),
        custom=native_to_struct(task.custom, "template.custom"),
        task_type_version=task.task_type_version,
        config=dict(task.config),
    )
    if task.secrets:
        message.security_context = core.SecurityContext(
            secrets=[
                core.Secret(group=each.group, group_version=each.group_version, key=each.key, env_var=each.env_var)
                for each in task.secrets
            ]
        )
    if task.sql is not None:
        message.sql = core.Sql(statement=task.sql.statement, dialect=core.SqlDialect.from_string(task.sql.dialect))
    elif task.container is not None:
        message.container = _write_container(task.container, core)
    elif task.k8s_pod is not None:
        message.k8s_pod = core.K8SPod(pod_spec=native_to_struct(task.k8s_pod, "template.k8s_pod.pod_spec"))
    return message


def read_interface(message: _InterfaceMessage | None) -> models.Interface:
    """What a task declares. :raises InvalidRequest: a type has no Python form."""
    if message is None:
        return models.Interface()
    return models.Interface(_read_variables(message.inputs), _read_variables(message.outputs))


def read_task_metadata(message: _MetadataMessage | None) -> models.TaskMetadata:
    """How the backend treats a task. :raises InvalidRequest: its timeout is more than Python can hold."""
    if message is None:
        return models.TaskMetadata()
    runtime, retries = message.runtime, message.retries
    return models.TaskMetadata(
        retries=retries.retries if retries is not None else 0,
        timeout=read_duration(message.timeout, "template.metadata.timeout"),
        discoverable=message.discoverable,
        discovery_version=message.discovery_version,
        runtime=runtime.type.name if runtime is not None else "",
        runtime_version=runtime.version if runtime is not None else "",
        runtime_flavor=runtime.flavor if runtime is not None else "",
        tags=message.tags,
    )


def _write_metadata(metadata: models.TaskMetadata, core: ModuleType) -> Any:
    runtime = None
    if metadata.runtime:
        runtime = core.RuntimeMetadata(
            type=core.RuntimeMetadataRuntimeType.from_string(metadata.runtime),
            version=metadata.runtime_version,
            flavor=metadata.runtime_flavor,
        )
    return core.TaskMetadata(
        discoverable=metadata.discoverable,
        runtime=runtime,
        timeout=write_duration(metadata.timeout, "template.metadata.timeout"),
        retries=core.RetryStrategy(retries=metadata.retries),
        discovery_version=metadata.discovery_version,
        tags=dict(metadata.tags),
    )


def _read_variables(message: _VariablesMessage | None) -> dict[str, models.LiteralType]:
    if message is None:
        return {}
    declared: Iterable[tuple[str, Any]]
    if isinstance(message, core_v1.VariableMap):
        declared = message.variables.items()
    else:
        declared = ((each.key, each.value) for each in message.variables)
    return {name: literal_type(variable.type if variable is not None else None) for name, variable in declared}


def _write_variables(variables: Mapping[str, models.LiteralType], core: ModuleType) -> Any:
    typed = {name: core.Variable(type=literal_type_message(each, core)) for name, each in variables.items()}
    if core is core_v1:
        return core_v1.VariableMap(variables=typed)
    return core_v2.VariableMap(variables=[core_v2.VariableEntry(key=name, value=each) for name, each in typed.items()])


def _read_container(message: _ContainerMessage) -> models.Container:
    resources = message.resources
    return models.Container(
        image=message.image,
        command=tuple(message.command),
        args=tuple(message.args),
        env={each.key: each.value for each in message.env},
        requests=_read_quantities(resources.requests) if resources is not None else {},
        limits=_read_quantities(resources.limits) if resources is not None else {},
    )


def _write_container(container: models.Container, core: ModuleType) -> Any:
    return core.Container(
        image=container.image,
        command=list(container.command),
        args=list(container.args),
        resources=core.Resources(
            requests=_write_quantities(container.requests, core), limits=_write_quantities(container.limits, core)
        ),
        env=[core.KeyValuePair(key=name, value=value) for name, value in container.env.items()],
    )


def _read_quantities(entries: Iterable[_EntryMessage]) -> dict[str, str]:
    return {(each.name.name or "unknown").lower(): each.value for each in entries}


def _write_quantities(quantities: Mapping[str, str], core: ModuleType) -> Any:
    names = core.ResourcesResourceName
    return [
        core.ResourcesResourceEntry(name=names.from_string(name.upper()), value=value)
        for name, value in quantities.items()
    ]
