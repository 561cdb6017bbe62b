"""The fake platform's connector, written for flytekit's own service. It runs in that service's environment, not here.

It does what this project's connector for the platform does, as far as flytekit's interface goes: one pooled HTTP
client, the same time limit for a request, and a job that is gone counts as deleted. A connector is handed no
idempotency key there, so that a submission has none; and it is called once, so that a request is sent once.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import Any

import httpx
from flyteidl.core.execution_pb2 import TaskExecution
from flytekit.extend.backend.base_connector import AsyncConnectorBase, ConnectorRegistry, Resource, ResourceMeta

TASK_TYPE = "platform"
URL = "PLATFORM_URL"
"""The environment variable that says where the platform is."""
PHASES = {
    "PENDING": TaskExecution.QUEUED,
    "RUNNING": TaskExecution.RUNNING,
    "CANCELLING": TaskExecution.RUNNING,
    "SUCCEEDED": TaskExecution.SUCCEEDED,
    "FAILED": TaskExecution.FAILED,
    "PREEMPTED": TaskExecution.RETRYABLE_FAILED,
    "CANCELLED": TaskExecution.ABORTED,
}


@dataclass
class PlatformRun(ResourceMeta):  # type: ignore[misc]  # flytekit's types are in the other environment
    """What finds a job again."""

    job_id: str


class PlatformConnector(AsyncConnectorBase):  # type: ignore[misc]  # as above
    """Runs a task as a job of the fake platform."""

    name = "Platform Connector"

    def __init__(self) -> None:
        super().__init__(task_type_name=TASK_TYPE, metadata_type=PlatformRun)
        self._client = httpx.AsyncClient(
            base_url=os.environ[URL], timeout=5.0, limits=httpx.Limits(max_connections=100)
        )

    async def create(self, task_template: Any, output_prefix: str, **kwargs: Any) -> PlatformRun:
        """Submit the job."""
        body = {**(task_template.custom or {}), "task": posixpath.dirname(output_prefix)}
        answer = await self._client.post("/jobs", json=body)
        answer.raise_for_status()
        return PlatformRun(answer.json()["job"]["id"])

    async def get(self, resource_meta: PlatformRun, **kwargs: Any) -> Any:
        """Its state, and its id as the output ``o0``."""
        answer = await self._client.get(f"/jobs/{resource_meta.job_id}")
        answer.raise_for_status()
        job = answer.json()["job"]
        outputs = {"o0": job["result"]} if job["result"] is not None else None
        return Resource(phase=PHASES[job["state"]], message=f"the job is {job['state']}", outputs=outputs)

    async def delete(self, resource_meta: PlatformRun, **kwargs: Any) -> None:
        """Cancel it."""
        answer = await self._client.post(f"/jobs/{resource_meta.job_id}/cancel")
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()


ConnectorRegistry.register(PlatformConnector())
