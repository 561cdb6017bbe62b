"""Chats, embeddings and batches as tasks in Python."""

from __future__ import annotations

from connectors.local import ConnectorTask, RunOptions
from connectors_openai.task_config import ChatGPTConfig, OpenAIBatchConfig, OpenAIEmbeddingsConfig

__all__ = ["ChatGPTTask", "OpenAIBatchTask", "OpenAIEmbeddingsTask"]


class ChatGPTTask(ConnectorTask):
    """Asks a chat model: ``task(message="…")`` returns its answer, a text."""

    def __init__(self, name: str, config: ChatGPTConfig, *, local_run: RunOptions | None = None) -> None:
        """:param name: of the task, for people. :param local_run: how its runs go."""
        super().__init__(
            name, "chatgpt", inputs={"message": str}, outputs={"o0": str}, config=config, local_run=local_run
        )


class OpenAIEmbeddingsTask(ConnectorTask):
    """Asks a model for vectors: ``task(texts=["…"])`` returns a list of floats for each text, in their order."""

    def __init__(self, name: str, config: OpenAIEmbeddingsConfig, *, local_run: RunOptions | None = None) -> None:
        """:param name: of the task, for people. :param local_run: how its runs go."""
        super().__init__(
            name,
            "openai-embeddings",
            inputs={"texts": list[str]},
            outputs={"vectors": list[list[float]]},
            config=config,
            local_run=local_run,
        )


class OpenAIBatchTask(ConnectorTask):
    """Runs a batch: ``task(input_file_id="…")`` returns it as a dict, once it is over."""

    def __init__(self, name: str, config: OpenAIBatchConfig, *, local_run: RunOptions | None = None) -> None:
        """:param name: of the task, for people. :param local_run: how its runs go."""
        super().__init__(
            name,
            "openai-batch",
            inputs={"input_file_id": str},
            outputs={"result": dict},
            config=config,
            local_run=local_run,
        )
