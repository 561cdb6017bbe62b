"""The idempotency key: what makes two creates the same create."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from connectors._engine.requests import CreateRequest

__all__ = ["Run", "run_of", "subject_of"]

_NAMESPACE = uuid.UUID("6f0b1d0e-9d1b-5c36-8a55-0c3d1a3d5a11").bytes
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ATTEMPT = re.compile(r"(.*/)([0-9]{1,6})(/?)", re.DOTALL)
_FIRST_ATTEMPT = {"flyte1": 0, "flyte2": 1}
_LOOK = 10  # attempts; a task with more retries than that has had its earlier ones looked after by those between


class Run(NamedTuple):
    """What one attempt at a task is known by. Each run of the same name has a generation, and each of those a key."""

    key: str
    """Of generation 0."""
    identity: tuple[str, list[str]] | None = None
    """The key namespace and the task id that the key was derived from; None where it was not derived from them."""
    output_prefix: str = ""
    first_attempt: int = 0

    def key_of(self, generation: int) -> str:
        """The key of a generation, as a UUID (RFC 9562 §5.5): 36 characters that every platform's own idempotency
        field takes.
        """
        return _hash("generation", self.key, generation) if generation else self.key

    @property
    def attempt(self) -> int:
        """The attempt that the prefix ends with; that of a first attempt where it ends with none."""
        found = _ATTEMPT.fullmatch(self.output_prefix) if self.identity else None
        return int(found[2]) if found else self.first_attempt

    def earlier(self) -> Iterator[Run]:
        """The attempts before this one, the latest first; ten at the most."""
        attempt = self.attempt
        if attempt > self.first_attempt:  # most are the first: no need to take the prefix apart again
            yield from self._attempts(range(attempt - 1, max(self.first_attempt, attempt - _LOOK) - 1, -1))

    def later(self) -> Iterator[Run]:
        """The attempts after this one, the next first; ten."""
        yield from self._attempts(range(self.attempt + 1, self.attempt + 1 + _LOOK))

    def _attempts(self, attempts: Iterable[int]) -> Iterator[Run]:
        found = _ATTEMPT.fullmatch(self.output_prefix)
        if self.identity is None or found is None:
            return
        for attempt in attempts:
            yield self._at(f"{found[1]}{attempt}{found[3]}")

    def _at(self, prefix: str) -> Run:
        assert self.identity is not None  # noqa: S101 - its callers have looked
        namespace, task = self.identity
        return Run(_hash("attempt", namespace, task, prefix, 0), self.identity, prefix, self.first_attempt)


def run_of(request: CreateRequest, namespace: str) -> Run:
    """The run that a request is of.

    Its key is of the request's ``idempotency-key`` metadata, scoped by task type, where it has one. Else of the task id
    and ``output_prefix``, which together name one attempt; node ids repeat within an execution, so they would not do.
    A request without an identity, as a local run makes, gets a random key.

    :param namespace: names the cluster: two clusters may share a cloud project and their names.
    """
    if request.caller.idempotency_key:
        return Run(_hash("explicit", namespace, request.category.name, request.caller.idempotency_key))
    execution = request.metadata.task_execution_id
    if execution is None or not request.output_prefix:
        return Run(str(uuid.uuid4()))
    task = execution.task_id
    names = [task.org, task.project, task.domain, task.name, task.version]
    key = _hash("attempt", namespace, names, request.output_prefix, 0)
    return Run(key, (namespace, names), request.output_prefix, _FIRST_ATTEMPT.get(request.caller.protocol, 0))


def subject_of(request: CreateRequest) -> dict[str, str]:
    """Whose job it is, in the ledger's words."""
    execution = request.metadata.task_execution_id
    words = {"protocol": request.caller.protocol, "output_prefix": request.output_prefix}
    if execution is not None:
        task = execution.task_id
        words |= {
            "org": execution.org or task.org,
            "project": execution.project or task.project,
            "domain": execution.domain or task.domain,
            "name": task.name,
            "version": task.version,
            "execution": execution.execution,
            "node": execution.node_id,
            "retry": str(execution.retry_attempt),
        }
    return {name: value for name, value in words.items() if value}


def _hash(*parts: object) -> str:
    """``str(uuid.uuid5(…))`` of the parts as JSON, at a third of its cost (RFC 9562 §5.5)."""
    digest = bytearray(hashlib.sha1(_NAMESPACE + _encode(parts).encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
