"""The words that connectors and the engine share: tasks, resources, phases and values.

Plain frozen dataclasses, the same for both Flyte protocols. There is no protobuf here and no I/O.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

__all__ = [
    "Binary",
    "Blob",
    "Container",
    "ErrorValue",
    "Identifier",
    "Identity",
    "Interface",
    "LiteralType",
    "LogLine",
    "LogPage",
    "MetricResult",
    "OffloadedLiteral",
    "Phase",
    "Resource",
    "ResourceError",
    "Schema",
    "SecretReference",
    "Sql",
    "StructuredDataset",
    "TaskCategory",
    "TaskExecutionId",
    "TaskExecutionMetadata",
    "TaskLog",
    "TaskMetadata",
    "TaskTemplate",
]


class Phase(enum.Enum):
    """Where a task stands. The values are the numbers of ``TaskExecution.Phase`` in both protocols."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    ABORTED = 4
    FAILED = 5
    INITIALIZING = 6
    WAITING_FOR_RESOURCES = 7
    RETRYABLE_FAILED = 8

    __hash__ = object.__hash__  # enum's own is written in Python, and every poll looks phases up

    @property
    def is_terminal(self) -> bool:
        """Whether the task is over: SUCCEEDED, ABORTED, FAILED or RETRYABLE_FAILED."""
        return self in _TERMINAL


_TERMINAL = frozenset({Phase.SUCCEEDED, Phase.ABORTED, Phase.FAILED, Phase.RETRYABLE_FAILED})


# --- values that inputs and outputs may hold beside Python's own


@dataclass(frozen=True)
class Blob:
    """A file (``single``) or a folder (``multipart``) at a URI."""

    uri: str
    format: str = ""
    dimensionality: Literal["single", "multipart"] = "single"


@dataclass(frozen=True)
class StructuredDataset:
    """A table at a URI. ``columns`` maps names to their types; empty where the type does not say."""

    uri: str
    format: str = ""
    columns: Mapping[str, LiteralType] = field(default_factory=dict)


@dataclass(frozen=True)
class Schema:
    """A table of the older kind at a URI. ``columns`` maps names to integer, float, string, boolean, datetime or
    duration.
    """

    uri: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Binary:
    """Bytes with a tag that says how they are encoded. Those tagged ``msgpack`` arrive decoded, as Python values."""

    value: bytes
    tag: str = ""


@dataclass(frozen=True)
class OffloadedLiteral:
    """A literal that the backend keeps at a URI because it is large; ``size_bytes`` is its size there, ``type`` its
    type.
    """

    uri: str
    size_bytes: int = 0
    type: LiteralType | None = None


@dataclass(frozen=True)
class ErrorValue:
    """An error as a value: what a failed upstream node hands on."""

    message: str
    failed_node_id: str = ""


@dataclass(frozen=True)
class LiteralType:
    """The declared type of a variable.

    ``kind`` is one of: none, integer, float, string, boolean, datetime, duration, binary, error, struct, collection,
    map, union, enum, blob, schema, structured_dataset, or unknown (a kind that this release does not know).
    """

    kind: str
    element: LiteralType | None = None
    """What a collection or a map holds."""
    variants: tuple[LiteralType, ...] = ()
    """The alternatives of a union, in order."""
    values: tuple[str, ...] = ()
    """What an enum allows."""
    format: str = ""
    """Of a blob or a structured dataset."""
    dimensionality: Literal["single", "multipart"] = "single"
    """Of a blob."""
    columns: Mapping[str, LiteralType] = field(default_factory=dict)
    """Of a schema or a structured dataset."""
    tag: str = ""
    """The tag that tells the variants of a union apart (``structure.tag``)."""
    fields: Mapping[str, LiteralType] = field(default_factory=dict)
    """Of a struct that stands for a dataclass: its fields, where the SDK sent them (``structure.dataclass_type``)."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the SDK noted about the type, JSON-like: for a dataclass its JSON schema."""
    annotations: Mapping[str, Any] = field(default_factory=dict)
    """What the workflow author or the SDK annotated, JSON-like."""


# --- the task


@dataclass(frozen=True)
class Identifier:
    """Names an entity in Flyte. ``resource_type`` is UNSPECIFIED, TASK, WORKFLOW, LAUNCH_PLAN or DATASET."""

    project: str = ""
    domain: str = ""
    name: str = ""
    version: str = ""
    org: str = ""
    resource_type: str = "UNSPECIFIED"


@dataclass(frozen=True)
class TaskCategory:
    """A task type and its version: what a connector is found by."""

    name: str
    version: int = 0

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Sql:
    """A SQL statement. ``dialect`` is UNDEFINED, ANSI, HIVE or OTHER."""

    statement: str
    dialect: str = "UNDEFINED"


@dataclass(frozen=True)
class Container:
    """The container that the task would run in; its templates (``{{.outputPrefix}}`` …) are as the caller sent them."""

    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    """Resource name (cpu, gpu, memory, storage, ephemeral_storage) to a Kubernetes quantity."""
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Interface:
    """The declared inputs and outputs, by name."""

    inputs: Mapping[str, LiteralType] = field(default_factory=dict)
    outputs: Mapping[str, LiteralType] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskMetadata:
    """How the backend treats the task."""

    retries: int = 0
    timeout: timedelta | None = None
    discoverable: bool = False
    discovery_version: str = ""
    runtime: str = ""
    """OTHER or FLYTE_SDK."""
    runtime_version: str = ""
    runtime_flavor: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SecretReference:
    """A secret that the task asks for, by group and key; never its value."""

    group: str = ""
    key: str = ""
    group_version: str = ""
    env_var: str = ""


@dataclass(frozen=True)
class TaskTemplate:
    """What to run: the task as the workflow author declared it."""

    type: str
    task_type_version: int = 0
    id: Identifier = Identifier()
    custom: Mapping[str, Any] = field(default_factory=dict)
    """The connector's own settings for this task. Whole numbers are ``int`` again: on the wire every number is a
    double."""
    config: Mapping[str, str] = field(default_factory=dict)
    sql: Sql | None = None
    container: Container | None = None
    k8s_pod: Mapping[str, Any] | None = None
    """The pod's spec, where the task has one."""
    interface: Interface = Interface()
    metadata: TaskMetadata = TaskMetadata()
    secrets: tuple[SecretReference, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Who the workflow runs as."""

    iam_role: str = ""
    k8s_service_account: str = ""
    execution_identity: str = ""


@dataclass(frozen=True)
class TaskExecutionId:
    """One attempt of one node of one execution. It is not unique by itself: node ids repeat in subworkflows and
    maps.
    """

    task_id: Identifier = Identifier()
    project: str = ""
    domain: str = ""
    execution: str = ""
    org: str = ""
    node_id: str = ""
    retry_attempt: int = 0


@dataclass(frozen=True)
class TaskExecutionMetadata:
    """Where the call comes from."""

    task_execution_id: TaskExecutionId | None = None
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    k8s_service_account: str = ""
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    identity: Identity = Identity()


# --- what a connector answers


@dataclass(frozen=True)
class TaskLog:
    """A link that the user sees on the task's page."""

    uri: str
    name: str
    ready: bool = True
    """Flyte 2 shows a link as usable once it is ready."""


@dataclass(frozen=True)
class ResourceError:
    """The error code that a failed sync task shows. ``origin`` says whose fault it is."""

    code: str
    recoverable: bool = False
    origin: Literal["UNKNOWN", "USER", "SYSTEM"] = "UNKNOWN"


@dataclass(frozen=True)
class Resource:
    """The state of a job (``get``), or the result of a call (``do``)."""

    phase: Phase
    message: str = ""
    """For the user. The backend shows it for every phase but RUNNING and ABORTED."""
    log_links: tuple[TaskLog, ...] = ()
    outputs: Mapping[str, Any] | None = None
    """Native values by output name. None: the backend reads ``<output_prefix>/outputs.pb``."""
    custom_info: Mapping[str, Any] | None = None
    """Further facts for people, JSON-like."""
    error: ResourceError | None = None


@dataclass(frozen=True)
class LogLine:
    """A line of a job's log. ``originator`` is UNKNOWN, USER or SYSTEM."""

    message: str
    timestamp: datetime | None = None
    originator: Literal["UNKNOWN", "USER", "SYSTEM"] = "UNKNOWN"


@dataclass(frozen=True)
class LogPage:
    """Some lines, oldest first; ``token`` asks for the next ones, "" at the end."""

    lines: tuple[LogLine, ...]
    token: str = ""


@dataclass(frozen=True)
class MetricResult:
    """One metric's series, as the JSON-like ``data`` of ``ExecutionMetricResult``."""

    metric: str
    data: Mapping[str, Any]
