"""A task as the body of ``batches.create``.

https://developers.openai.com/api/reference/resources/batches/methods/create: a batch has up to 16 pairs of metadata,
keys of up to 64 characters and values of up to 512.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors import Context, InvalidRequest, TaskTemplate
from connectors_openai._parameters import Parameters, is_identifier, is_name, text_input

__all__ = ["KEY", "BatchRequest"]

KEY = "connectors-key"
"""The key of the metadata that carries the idempotency key: a batch that has it is the one that this key made."""

_MOST_PAIRS = 16
_LONGEST_KEY, _LONGEST_VALUE = 64, 512  # characters
_DEFAULTS = {"completion_window": "24h", "endpoint": "/v1/chat/completions"}


@dataclass(frozen=True)
class BatchRequest:
    """What to send."""

    body: Mapping[str, Any]
    timeout: float
    """Seconds that the task allows for the exchange; infinite where it does not say."""

    @classmethod
    def of(cls, task: TaskTemplate, ctx: Context) -> BatchRequest:
        """The request that a task stands for.

        :raises InvalidRequest: the task has no input file, or holds something that no batch can have.
        """
        parameters = Parameters.of(task.custom, "config")
        body = {**_DEFAULTS, **{key: value for key, value in parameters.body.items() if value is not None}}
        if "input_file_id" in body:
            raise InvalidRequest("the task's custom.config.input_file_id: the file is the task's input; take it out")
        for name in _DEFAULTS:
            if not is_name(body[name]):
                raise InvalidRequest(f"the task's custom.config.{name} must be a text")
        file = text_input(ctx, "input_file_id")
        if not is_identifier(file):
            raise InvalidRequest("the input 'input_file_id' must be the id of a file that was uploaded to OpenAI")
        metadata = _metadata(body.get("metadata"), ctx)
        return cls({**body, "input_file_id": file, "metadata": metadata}, parameters.timeout)


def _metadata(given: Any, ctx: Context) -> dict[str, str]:
    """The user's pairs as they are, the key, and the owner as far as there is room and no pair of the user's has the
    name.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise InvalidRequest("the task's custom.config.metadata must map names to texts")
    for name, value in given.items():
        if not isinstance(value, str) or len(name) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            raise InvalidRequest(
                f"the task's custom.config.metadata.{name[:_LONGEST_KEY]} must be a text of up to {_LONGEST_VALUE} "
                f"characters, its name one of up to {_LONGEST_KEY}"
            )
    metadata = {**given, KEY: ctx.idempotency_key}
    if len(metadata) > _MOST_PAIRS:
        raise InvalidRequest(
            f"a batch has at most {_MOST_PAIRS} pairs of metadata, one of them the connector's: not {len(given)} more"
        )
    for name, value in _owner(ctx).items():
        if value and len(metadata) < _MOST_PAIRS:
            metadata.setdefault(name, value[:_LONGEST_VALUE])
    return metadata


def _owner(ctx: Context) -> dict[str, str]:
    owner = ctx.metadata.task_execution_id
    if owner is None:
        return {}
    return {
        "flyte-execution": owner.execution,
        "flyte-project": owner.project,
        "flyte-domain": owner.domain,
        "flyte-node": owner.node_id,
        "flyte-attempt": str(owner.retry_attempt),
    }
