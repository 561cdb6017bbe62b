"""What a workflow author writes: each class becomes the ``custom`` of a task.

The keys are those of Flyte 1's OpenAI plugin, so that a task is the same whichever of the two describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ChatGPTConfig", "OpenAIBatchConfig", "OpenAIEmbeddingsConfig"]


@dataclass(frozen=True)
class ChatGPTConfig:
    """A task of type ``chatgpt``: input ``message``, output ``o0``, both text."""

    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further ones of https://developers.openai.com/api/reference/resources/chat: ``temperature``, … ``messages`` are
    overwritten with the input."""
    organization: str = ""
    project: str = ""

    def to_custom(self) -> dict[str, Any]:
        """The task's ``custom``."""
        return {**_identity(self), "chatgpt_config": {**self.parameters, "model": self.model}}


@dataclass(frozen=True)
class OpenAIEmbeddingsConfig:
    """A task of type ``openai-embeddings``: input ``text`` or ``texts``, output ``vectors``, lists of numbers."""

    model: str
    dimensions: int | None = None
    """Of each vector; None leaves it to the model."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further ones of https://developers.openai.com/api/reference/resources/embeddings."""
    organization: str = ""
    project: str = ""

    def to_custom(self) -> dict[str, Any]:
        """The task's ``custom``."""
        config = {**self.parameters, "model": self.model}
        if self.dimensions is not None:
            config["dimensions"] = self.dimensions
        return {**_identity(self), "config": config}


@dataclass(frozen=True)
class OpenAIBatchConfig:
    """A task of type ``openai-batch``: input ``input_file_id``, output ``result``, the batch as a dict."""

    endpoint: str = "/v1/chat/completions"
    completion_window: str = "24h"
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Up to 15 pairs: of the 16 that a batch has, the connector takes one."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further ones of https://developers.openai.com/api/reference/resources/batches."""
    organization: str = ""
    project: str = ""

    def to_custom(self) -> dict[str, Any]:
        """The task's ``custom``."""
        config = {**self.parameters, "endpoint": self.endpoint, "completion_window": self.completion_window}
        if self.metadata:
            config["metadata"] = dict(self.metadata)
        return {**_identity(self), "config": config}


def _identity(config: ChatGPTConfig | OpenAIEmbeddingsConfig | OpenAIBatchConfig) -> dict[str, Any]:
    identity = {"openai_organization": config.organization}
    return {**identity, "openai_project": config.project} if config.project else identity
