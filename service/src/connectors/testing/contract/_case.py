"""What a plugin tells the contract suite about itself and its platform."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from connectors.connector import AsyncConnectorBase, ConnectorBase, ResourceMeta, SyncConnectorBase
from connectors.context import Protocol
from connectors.errors import ConnectorError
from connectors.models import TaskExecutionMetadata, TaskTemplate
from connectors.testing.contexts import OWNER
from connectors.testing.faults import EVERY_REQUEST, Fault, ProxiedRequest

__all__ = ["OWNER", "AsyncCase", "Errors", "OperationName", "SyncCase", "json_members"]

OperationName = Literal["create", "get", "delete", "do"]
Errors = Mapping[OperationName, Mapping[int, type[ConnectorError] | None]]


def json_members(**values: Any) -> Callable[[bytes], bytes]:
    """Gives each member of these names, wherever it stands in a JSON body, this value: ``json_members(state="ASLEEP")``
    is an answer that shows a state which nobody knows.
    """

    def rewritten(part: Any) -> Any:
        if isinstance(part, list):
            return [rewritten(each) for each in part]
        if isinstance(part, dict):
            return {name: values[name] if name in values else rewritten(each) for name, each in part.items()}
        return part

    return lambda body: json.dumps(rewritten(json.loads(body))).encode()


def _error_body(status: int) -> bytes:
    return json.dumps({"error": "scripted", "message": f"a fault that was asked for: {status}"}).encode()


ConnectorT = TypeVar("ConnectorT", bound=ConnectorBase)


@dataclass(frozen=True, kw_only=True)
class _Case(Generic[ConnectorT]):
    build: Callable[[], ConnectorT]
    """A new connector, with nothing cached, as a new server would make it. Its platform is ``proxy.url``, for its
    credentials too where it fetches them."""
    task: TaskTemplate
    """A task that the platform takes."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """What the request brings with it: each call's ``ctx.secrets`` has them first, then the environment."""
    secret_values: Sequence[str] = ()
    """What else must be seen nowhere: the values in the settings, or the environment; the lines of a private key. The
    values of ``secrets`` and what is sent as ``Authorization`` are known."""
    metadata: TaskExecutionMetadata = OWNER
    output_prefix: str = "s3://example/results/f3a1/n0/0"
    protocol: Protocol = "flyte1"
    errors: Errors = field(default_factory=dict)
    """Where an operation's answer to a status is another error than :func:`connectors.error_for_status`'s, or none at
    all (None): ``{"create": {409: Unavailable}}``. A ``delete`` is quiet at 404."""
    error_body: Callable[[int], bytes] = _error_body
    """The platform's own body of an error with this status."""
    error_headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    hostile_tasks: Callable[[str], Sequence[TaskTemplate]] = lambda address: ()
    """Tasks that would lead the credentials to the host and port that is given, or bend a URL."""

    def refused(
        self,
        requests: Callable[[ProxiedRequest], bool],
        status: int,
        *,
        retry_after: str = "",
        times: int | None = None,
    ) -> Fault:
        """The platform's answer with this status, before anything is done."""
        headers = {**self.error_headers, "Retry-After": retry_after} if retry_after else self.error_headers
        return Fault("answer", requests, status=status, headers=headers, body=self.error_body(status), times=times)


@dataclass(frozen=True, kw_only=True)
class AsyncCase(_Case[AsyncConnectorBase[Any]]):
    """An async connector, its platform, and a job on it."""

    jobs: Callable[[str], int | Awaitable[int]]
    """How many jobs the platform has under an idempotency key. Ask the platform itself, not the proxy."""
    creates: Callable[[ProxiedRequest], bool]
    """The request that makes the job: ``Route("POST", "/jobs")``; not a search for it, nor one for a token."""
    gets: Callable[[ProxiedRequest], bool] = EVERY_REQUEST
    """The request that ``get`` cannot do without."""
    cancels: Callable[[ProxiedRequest], bool] = EVERY_REQUEST
    """The request that ``delete`` cannot do without."""
    unknown: ResourceMeta
    """A meta whose job the platform does not have."""
    metas: Sequence[ResourceMeta]
    """Metas as this release writes them, one of each shape: what the reference service has to be able to read."""
    older_metas: Mapping[bytes, ResourceMeta]
    """What the reference service, and each release of this plugin, wrote; and what it is to be read as."""
    unknown_state: Callable[[bytes], bytes]
    """Makes a body that shows a job in a state which nobody knows, from the platform's answer to ``gets``:
    :func:`json_members`."""
    finish: Callable[[str], Awaitable[None] | None] = lambda key: None
    """Has the job of this key end, on the platform; not needed where it is over as soon as it is made."""
    hostile_metas: Callable[[str], Sequence[ResourceMeta]]
    """Metas that would lead the credentials to the host and port that is given, or bend a URL: a path in an id, a
    query, a line break. Each must be refused before any request."""


@dataclass(frozen=True, kw_only=True)
class SyncCase(_Case[SyncConnectorBase]):
    """A sync connector, and a call of it."""

    calls: Callable[[ProxiedRequest], bool] = EVERY_REQUEST
    """The request that ``do`` cannot do without."""
    any_body: bool = False
    """Whether an answer may be anything, so that none is malformed."""
