"""The OpenAI connectors: a chat's answer, embeddings, and batches.

They speak through OpenAI's own asynchronous SDK, which is loaded when the first call is made, and with its retries off:
the service retries. Any server with the same API serves.
"""

from connectors import AsyncConnectorBase, SyncConnectorBase
from connectors_openai.batch import OpenAIBatch, OpenAIBatchConnector
from connectors_openai.chat import ChatGPTConnector
from connectors_openai.embeddings import OpenAIEmbeddingsConnector
from connectors_openai.settings import OpenAISettings
from connectors_openai.task import ChatGPTTask, OpenAIBatchTask, OpenAIEmbeddingsTask
from connectors_openai.task_config import ChatGPTConfig, OpenAIBatchConfig, OpenAIEmbeddingsConfig

__all__ = [
    "ChatGPTConfig",
    "ChatGPTConnector",
    "ChatGPTTask",
    "OpenAIBatch",
    "OpenAIBatchConfig",
    "OpenAIBatchConnector",
    "OpenAIBatchTask",
    "OpenAIEmbeddingsConfig",
    "OpenAIEmbeddingsConnector",
    "OpenAIEmbeddingsTask",
    "OpenAISettings",
    "connectors",
]


def connectors() -> tuple[type[AsyncConnectorBase[OpenAIBatch] | SyncConnectorBase], ...]:
    """The plugin's connectors."""
    return ChatGPTConnector, OpenAIBatchConnector, OpenAIEmbeddingsConnector
