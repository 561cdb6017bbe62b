"""The context of one call, for tests that call a connector's methods themselves, with no server between."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from connectors.context import Context, Protocol
from connectors.http import HttpClient
from connectors.models import TaskExecutionId, TaskExecutionMetadata
from connectors.secrets import EnvironmentSecrets, RequestSecrets, SecretRules, Secrets, SecretSource

__all__ = ["OWNER", "NewContext"]

OWNER = TaskExecutionMetadata(
    task_execution_id=TaskExecutionId(
        project="example", domain="development", execution="f3a1", node_id="n0", retry_attempt=0
    )
)
"""Whose a test's tasks are, where it does not say."""


@dataclass(frozen=True)
class NewContext:
    """Makes the contexts of calls: ``await connector.create(task, new_context(inputs={"v": 7}))``. It is called on the
    event loop. What a connector's calls have in common is said once, by :func:`dataclasses.replace` too.
    """

    http: HttpClient
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the request brings with it; after it the environment is asked."""
    rules: SecretRules = field(default_factory=SecretRules)
    """Which secrets may be asked for. By default any; a server gives a connector those of its ``secret_names``."""
    metadata: TaskExecutionMetadata = OWNER
    key: str = ""
    """The idempotency key; "" is a new one for each call."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """The task's, as native values."""

    def __call__(
        self,
        key: str = "",
        *,
        inputs: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        sources: Sequence[SecretSource] = (),
        protocol: Protocol = "flyte1",
        metadata: TaskExecutionMetadata | None = None,
        seconds: float = 30.0,
        adopt_within: float = math.inf,
    ) -> Context:
        """The context of one call; what is not said is the instance's.

        :param secrets: in place of :attr:`secrets`. :param sources: asked after the request, before the environment.
        :param metadata: ``TaskExecutionMetadata()`` is none, as ``get`` and ``delete`` have it.
        :param seconds: until the deadline. :param adopt_within: how old the job of the same key may be, in seconds, for
            ``create`` to take it for its own: see :meth:`connectors.Context.may_adopt`.
        """
        brought = RequestSecrets(self.secrets if secrets is None else secrets)
        return Context(
            http=self.http,
            secrets=Secrets([brought, *sources, EnvironmentSecrets()], rules=self.rules),
            deadline=asyncio.get_running_loop().time() + seconds,
            idempotency_key=key or self.key or str(uuid4()),
            metadata=self.metadata if metadata is None else metadata,
            inputs=lambda: self.inputs if inputs is None else inputs,
            protocol=protocol,
            adopt_within=adopt_within,
        )
