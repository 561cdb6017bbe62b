"""The idempotency key: what makes two creates the same create."""

from __future__ import annotations

import json
import uuid

from connectors._engine.requests import CreateRequest

__all__ = ["key_of"]

_NAMESPACE = uuid.UUID("6f0b1d0e-9d1b-5c36-8a55-0c3d1a3d5a11")


def key_of(request: CreateRequest, namespace: str, *, generation: int = 0) -> str:
    """The key of a request, as a UUID (RFC 9562 §5.5): 36 characters that every platform's own idempotency field takes.

    From the request's ``idempotency-key`` metadata, scoped by task type, where it has one. Else from the task id and
    ``output_prefix``, which together name one attempt; node ids repeat within an execution, so they would not do. A
    request without an identity, as a local run makes, gets a random key.

    :param namespace: names the cluster: two clusters may share a cloud project and their names.
    :param generation: tells a run from an earlier run of the same name.
    """
    if request.caller.idempotency_key:
        return _hash("explicit", namespace, request.category.name, request.caller.idempotency_key)
    execution = request.metadata.task_execution_id
    if execution is None or not request.output_prefix:
        return str(uuid.uuid4())
    task = execution.task_id
    return _hash(
        "attempt",
        namespace,
        [task.org, task.project, task.domain, task.name, task.version],
        request.output_prefix,
        generation,
    )


def _hash(*parts: object) -> str:
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=False, separators=(",", ":"))))
