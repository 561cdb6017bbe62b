"""A task as a backend runs it: the template, its inputs, and what identifies each attempt in either protocol."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from connectors.models import Identifier, TaskCategory, TaskExecutionId, TaskExecutionMetadata, TaskTemplate

__all__ = ["BackendTask", "Protocol", "distinct_tasks", "shuffled", "shuffled_through"]

Protocol = Literal["flyte1", "flyte2"]
V = TypeVar("V")


@dataclass(frozen=True)
class BackendTask:
    """One task of one execution. Run again, it is a run of the same name: nothing about its identity changes."""

    template: TaskTemplate
    inputs: Mapping[str, Any] = field(default_factory=dict)
    execution: str = "run"
    node: str = "n0"
    project: str = "project"
    domain: str = "development"
    bucket: str = "s3://bucket"
    retries: int | None = None
    """In place of the backend's own number."""
    abort_after: float | None = None
    """When its user aborts it: seconds from its start."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values that Flyte 2 sends along; Flyte 1 has no place for them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Tells tasks apart."""
        return f"{self.project}/{self.domain}/{self.execution}/{self.node}"

    @property
    def category(self) -> TaskCategory:
        """What the backend finds a connector by."""
        return TaskCategory(self.template.type, self.template.task_type_version)

    def output_prefix(self, protocol: Protocol, attempt: int = 0) -> str:
        """Where an attempt's outputs belong. The last segment is the attempt: from 0 on in Flyte 1, from 1 on in
        Flyte 2.
        """
        if protocol == "flyte1":
            run = f"{self.project}-{self.domain}-{self.execution}"
            return f"{self.bucket}/metadata/propeller/{run}/{self.node}/data/{attempt}"
        return f"{self.bucket}/{self.project}/{self.domain}/{self.execution}/{self.node}/{attempt + 1}"

    def metadata(self, attempt: int = 0) -> TaskExecutionMetadata:
        """The metadata of an attempt's create."""
        return TaskExecutionMetadata(
            task_execution_id=TaskExecutionId(
                task_id=self.identified().id,
                project=self.project,
                domain=self.domain,
                execution=self.execution,
                node_id=self.node,
                retry_attempt=attempt,
            ),
            namespace=f"{self.project}-{self.domain}",
            labels={"execution-id": self.execution, "node-id": self.node, **self.labels},
            annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            k8s_service_account="default",
            environment_variables=dict(self.environment),
        )

    def identified(self) -> TaskTemplate:
        """The template with an id: its own, else one that fits."""
        if self.template.id != Identifier():
            return self.template
        named = Identifier(self.project, self.domain, self.template.type, "v1", resource_type="TASK")
        return replace(self.template, id=named)


def distinct_tasks(count: int, template: TaskTemplate, *, execution: str = "run", **more: Any) -> list[BackendTask]:
    """That many tasks of one template, each of an execution of its own; ``more`` is for each, as
    :class:`BackendTask` takes it.
    """
    width = len(str(max(count - 1, 0)))
    return [BackendTask(template, execution=f"{execution}-{number:0{width}}", **more) for number in range(count)]


def shuffled(values: Mapping[str, V], order: random.Random) -> dict[str, V]:
    """The same mapping, in another order: the backends write theirs from maps that have none."""
    names = list(values)
    order.shuffle(names)
    return {name: values[name] for name in names}


def shuffled_through(value: Any, order: random.Random) -> Any:
    """A JSON-like value with every mapping in it in another order."""
    if isinstance(value, Mapping):
        return {name: shuffled_through(each, order) for name, each in shuffled(value, order).items()}
    return [shuffled_through(each, order) for each in value] if isinstance(value, list | tuple) else value
