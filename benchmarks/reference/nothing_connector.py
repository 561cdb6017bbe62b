"""The connector that does nothing, written for flytekit's own service. It runs in that service's environment, not here.

It does what :mod:`benchmarks.nothing` makes this service's do: a job is its ``output_prefix``, and it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flyteidl.core.execution_pb2 import TaskExecution
from flytekit.extend.backend.base_connector import AsyncConnectorBase, ConnectorRegistry, Resource, ResourceMeta


@dataclass
class NothingJob(ResourceMeta):  # type: ignore[misc]  # flytekit's types are in the other environment
    """What finds a job again."""

    job: str


class NothingConnector(AsyncConnectorBase):  # type: ignore[misc]  # as above
    """Does nothing, without waiting for it."""

    name = "Nothing Connector"

    def __init__(self) -> None:
        super().__init__(task_type_name="nothing", metadata_type=NothingJob)

    async def create(self, task_template: Any, output_prefix: str, **kwargs: Any) -> NothingJob:
        """No job."""
        return NothingJob(output_prefix)

    async def get(self, resource_meta: NothingJob, **kwargs: Any) -> Any:
        """It runs."""
        return Resource(phase=TaskExecution.RUNNING)

    async def delete(self, resource_meta: NothingJob, **kwargs: Any) -> None:
        """Nothing to stop."""


ConnectorRegistry.register(NothingConnector())
