"""A plugin of two connectors: a job that has a log and a link, and a call that answers with its inputs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors import (
    AsyncConnectorBase,
    Context,
    LogLine,
    LogPage,
    Phase,
    Resource,
    ResourceError,
    ResourceMeta,
    SyncConnectorBase,
    TaskLog,
    TaskTemplate,
)


@dataclass(frozen=True)
class Chat(ResourceMeta):
    words: str


class ChattyConnector(AsyncConnectorBase[Chat]):
    """Runs for ever, and its log is its words, one a line."""

    task_type = "chatty"
    task_type_version = 1

    async def create(self, task: TaskTemplate, ctx: Context) -> Chat:
        return Chat(task.custom["words"])

    async def get(self, job: Chat, ctx: Context) -> Resource:
        links = (TaskLog("https://example.com/chat", "Chat"),)
        return Resource(Phase.RUNNING, log_links=links, custom_info={"words": len(job.words.split())})

    async def delete(self, job: Chat, ctx: Context) -> None:
        return None

    async def get_logs(self, job: Chat, ctx: Context, *, lines: int, token: str) -> LogPage:
        words, begin = job.words.split(" "), int(token or 0)
        end = begin + (lines or 2)
        found = [LogLine(word, datetime(2024, 5, 17, tzinfo=UTC)) for word in words[begin:end]]
        return LogPage(tuple(found), str(end) if end < len(words) else "")


class EchoConnector(SyncConnectorBase):
    """Its outputs are its inputs."""

    task_type = "echo"

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        await asyncio.sleep(task.custom.get("seconds", 0))
        if task.custom.get("crash"):
            raise ZeroDivisionError("a bug of the connector's")
        if task.custom.get("fail"):
            return Resource(Phase.FAILED, "as it was told\x1b[31m", error=ResourceError("Told", origin="USER"))
        return Resource(Phase.SUCCEEDED, outputs=dict(ctx.inputs))
