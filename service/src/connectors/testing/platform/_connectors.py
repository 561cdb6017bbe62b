"""Connectors for the platform: one for each way in which a platform can be kept from making a second job.

They are what a plugin is, and nothing more: tests install them through the ``connectors`` entry-point group.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from connectors.connector import AsyncConnectorBase, ResourceMeta
from connectors.context import Context
from connectors.errors import InvalidRequest, KeyTaken, NotFound, Unavailable
from connectors.http import HttpResponse, error_for_status
from connectors.models import Phase, Resource, TaskTemplate

__all__ = [
    "CONNECTORS",
    "NativeConnector",
    "NativePrefixConnector",
    "NoneConnector",
    "NonePrefixConnector",
    "PlatformConnector",
    "PlatformRun",
    "PlatformSettings",
    "SearchConnector",
    "SearchPrefixConnector",
]

PartT = TypeVar("PartT")

_PHASES = {
    "PENDING": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "CANCELLING": Phase.RUNNING,
    "SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "PREEMPTED": Phase.RETRYABLE_FAILED,
    "CANCELLED": Phase.ABORTED,
}
_JOB_ID = re.compile(r"[A-Za-z0-9-]{1,80}")  # a meta is a caller's input, and the id is a part of a path
_JOB_FIELDS = frozenset({"pending", "duration", "outcome"})


@dataclass(frozen=True)
class PlatformSettings:
    """Where the platform is."""

    url: str = "http://127.0.0.1:8700"
    token: str = field(default="", repr=False)
    timeout: float = 5.0
    """Seconds for one request; less where the call's own time is up earlier."""


@dataclass(frozen=True)
class PlatformRun(ResourceMeta):
    """What finds a job again."""

    job_id: str


class PlatformConnector(AsyncConnectorBase[PlatformRun]):
    """Runs a task as a job of the fake platform. Its ``custom`` may hold ``pending``, ``duration`` (seconds) and
    ``outcome`` (SUCCEEDED, FAILED, PREEMPTED), and ``conflict``: a repeat is then told by a 409.

    A job's ``task`` is the output prefix without its last segment, which is the attempt.
    """

    Settings = PlatformSettings
    settings: PlatformSettings

    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        """Submit the job, or return the one that has the key.

        :raises KeyTaken: that one is an earlier run's. :raises ConnectorError: as the platform answers.
        """
        if self.dedupe == "search":
            answer = await self._request(ctx, "GET", "/jobs", params={"key": ctx.idempotency_key})
            found = _part(answer, "jobs", list)
            if found:
                return self._adopted(found[0], ctx)
        if unknown := task.custom.keys() - _JOB_FIELDS - {"conflict"}:
            raise InvalidRequest(f"the task's custom holds {min(unknown)}, which no job has")
        dedupe: str = "none"
        if self.dedupe == "native":
            dedupe = "conflict" if task.custom.get("conflict") else "same"
        body = {
            **{name: value for name, value in task.custom.items() if name in _JOB_FIELDS},
            "key": ctx.idempotency_key,
            "dedupe": dedupe,
            "task": posixpath.dirname(ctx.output_prefix),
            "labels": _labels(ctx),
            "output_prefix": "" if self.results_inline else ctx.output_prefix,
        }
        answer = await self._request(ctx, "POST", "/jobs", json=body, accept=(409,))
        submitted = _part(answer, "job", dict)
        if answer.status == 409 or _part(answer, "repeated", bool):
            return self._adopted(submitted, ctx)
        return PlatformRun(submitted["id"])

    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        """Its state; its id is the output ``o0`` of one whose results are inline.

        :raises ConnectorError: as the platform answers.
        """
        shown = _part(await self._request(ctx, "GET", _path(job)), "job", dict)
        phase = _PHASES.get(shown["state"])
        if phase is None:
            ctx.unknown_state(shown["state"])
            phase = Phase.RUNNING
        outputs = {"o0": shown["result"]} if shown["result"] is not None else None
        return Resource(phase, f"the job is {shown['state']}", outputs=outputs)

    async def delete(self, job: PlatformRun, ctx: Context) -> None:
        """Cancel it.

        :raises ConnectorError: as the platform answers.
        """
        try:
            await self._request(ctx, "POST", f"{_path(job)}/cancel")
        except NotFound:
            pass

    def _adopted(self, shown: Mapping[str, Any], ctx: Context) -> PlatformRun:
        if not ctx.may_adopt(datetime.fromisoformat(shown["created"])):
            raise KeyTaken
        return PlatformRun(shown["id"])

    async def _request(
        self,
        ctx: Context,
        method: Literal["GET", "POST"],
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> HttpResponse:
        answer = await ctx.http.request(
            method,
            self.settings.url + path,
            json=json,
            params=params,
            headers={"Authorization": f"Bearer {self.settings.token}"} if self.settings.token else None,
            timeout=min(self.settings.timeout, ctx.remaining()),
        )
        if answer.status >= 400 and answer.status not in accept:
            message = f"the platform answered HTTP {answer.status} to {method} {path}"
            raise error_for_status(answer.status, message, answer.headers)
        return answer


def _path(job: PlatformRun) -> str:
    if not _JOB_ID.fullmatch(job.job_id):
        raise InvalidRequest(f"{job.job_id[:80]!r} cannot be a job's id")
    return f"/jobs/{job.job_id}"


def _part(answer: HttpResponse, name: str, kind: type[PartT]) -> PartT:
    """A member of the answer.

    :raises Unavailable: the answer has none: it is not the platform's.
    """
    body = answer.json()
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind):
        raise Unavailable(f"the platform's answer has no {name!r}")
    return value


def _labels(ctx: Context) -> dict[str, str]:
    owner = ctx.metadata.task_execution_id
    if owner is None:
        return {}
    return {"execution": owner.execution, "node": owner.node_id, "attempt": str(owner.retry_attempt)}


class NativeConnector(PlatformConnector):
    """The platform makes one job per key; results are inline."""

    task_type = "platform_native"
    dedupe = "native"
    results_inline = True


class NativePrefixConnector(PlatformConnector):
    """The platform makes one job per key; results are written under the output prefix."""

    task_type = "platform_native_prefix"
    dedupe = "native"


class SearchConnector(PlatformConnector):
    """The platform can be searched by key; results are inline."""

    task_type = "platform_search"
    dedupe = "search"
    results_inline = True


class SearchPrefixConnector(PlatformConnector):
    """The platform can be searched by key; results are written under the output prefix."""

    task_type = "platform_search_prefix"
    dedupe = "search"


class NoneConnector(PlatformConnector):
    """Nothing keeps the platform from making a second job; results are inline."""

    task_type = "platform_none"
    results_inline = True


class NonePrefixConnector(PlatformConnector):
    """Nothing keeps the platform from making a second job; results are written under the output prefix."""

    task_type = "platform_none_prefix"


CONNECTORS: Mapping[str, type[PlatformConnector]] = {
    kind.task_type: kind
    for kind in (
        NativeConnector,
        NativePrefixConnector,
        SearchConnector,
        SearchPrefixConnector,
        NoneConnector,
        NonePrefixConnector,
    )
}
"""The connectors by their task types."""
