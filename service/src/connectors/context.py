"""What a connector is given beside the task or the job: one object per call."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, TypeVar

from connectors.http import HttpClient
from connectors.models import TaskExecutionMetadata
from connectors.secrets import Secrets

__all__ = ["Context", "Protocol"]

T = TypeVar("T")
_LONGEST_STATE = 80
_UNIT = re.compile(r"[a-z][a-z0-9_]{0,39}")
Protocol = Literal["flyte1", "flyte2", "local"]


class Context:
    """The circumstances of one call.

    ``idempotency_key`` is the same for every repeat of the same create: hand it to the platform. ``metadata`` is empty,
    but for Flyte 2's create and Flyte 1's create and do: the callers send it there alone.
    """

    def __init__(
        self,
        *,
        http: HttpClient,
        secrets: Secrets,
        deadline: float,
        idempotency_key: str = "",
        output_prefix: str = "",
        metadata: TaskExecutionMetadata | None = None,
        inputs: Callable[[], Mapping[str, Any]] = dict,
        protocol: Protocol = "local",
        adopt_within: float = math.inf,
        logger: logging.Logger | None = None,
    ) -> None:
        self.http = http
        """The process's pooled HTTP client."""
        self.secrets = secrets
        """The secrets that this connector may read in this call: see :class:`connectors.secrets.Secrets`."""
        self.deadline = deadline
        """The instant, on the event loop's clock (seconds), when the connector's time is up."""
        self.idempotency_key = idempotency_key
        """A UUID as text, 36 characters."""
        self.output_prefix = output_prefix
        """The URI under which the backend looks for ``outputs.pb``."""
        self._metadata = metadata
        self.protocol = protocol
        """Who calls: what a job's meta must hold may depend on it, and nothing else should."""
        self._adopt_within = adopt_within
        self._adopt_undated = False
        self.logger = logger or logging.getLogger("connectors.plugin")
        self.unknown_states: set[str] = set()
        """What :meth:`unknown_state` was told in this call."""
        self.usage: dict[str, float] = {}
        """What :meth:`used` was told in this call: an amount by unit."""
        self._inputs = inputs
        self._loop = asyncio.get_running_loop()

    @cached_property
    def metadata(self) -> TaskExecutionMetadata:
        """Where the call comes from."""
        return self._metadata or TaskExecutionMetadata()

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """The task's inputs as native Python values, decoded when first asked for.

        :raises InvalidRequest: a value has no native form; the message names the variable.
        """
        return self._inputs()

    def unknown_state(self, state: str) -> None:
        """Tell that the platform reports a state which this release does not know, and which is taken for RUNNING. It
        is counted, and logged once.
        """
        self.unknown_states.add(state[:_LONGEST_STATE])

    def used(self, unit: str, amount: float) -> None:
        """Tell what the platform charged for: tokens, bytes, credits. It is counted by task type and unit.

        What ``create`` and ``do`` tell is counted at once, of every try that tells. In ``get``, tell what the job used
        in all, each time: it is counted when the job's end is delivered.

        :param unit: one of a few names of the connector's own, in lower case, of up to 40 letters, digits and ``_``; it
            is a metric's label, so never make it from a task or an answer. :param amount: 0 or more.
        :raises ValueError: it is no such name, or no such amount.
        """
        if not _UNIT.fullmatch(unit):
            raise ValueError(f"{unit[:_LONGEST_STATE]!r} cannot be a unit: lower-case letters, digits and '_' only")
        if not 0 <= amount < math.inf:
            raise ValueError(f"{amount} {unit} cannot have been used")
        self.usage[unit] = self.usage.get(unit, 0) + amount

    def may_adopt(self, created: datetime | None) -> bool:
        """Whether ``create`` is to return the job that it found on the platform under :attr:`idempotency_key`. The job
        must be this service's own, by a label or tag where the platform has them. Where it may not, raise
        :class:`connectors.KeyTaken`: the key's job is an earlier run's.

        :param created: when the platform made the job, with a time zone; None where it does not say.
        """
        if created is None or math.isinf(self._adopt_within):
            return self._adopt_undated or math.isinf(self._adopt_within)
        return (datetime.now(UTC) - created).total_seconds() < self._adopt_within

    def adopt_undated(self) -> None:
        """An earlier try of this very create may have made the job that the next one finds: :meth:`may_adopt` is true
        also where the platform does not tell its age.
        """
        self._adopt_undated = True

    def remaining(self) -> float:
        """Seconds until :attr:`deadline`; never below 0."""
        return max(0.0, self.deadline - self._loop.time())

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's event loop and wait for it: for methods that are a plain ``def``, in their
        own thread.

        ``ctx.wait(ctx.secrets.get("token"))``

        :raises RuntimeError: called on the event loop itself, which it would block for ever.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            coroutine.close()
            raise RuntimeError("wait() is for methods that are a plain def; in an async def, await instead")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
