"""A service that answers as it is told: a transport with nothing behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from connectors import Phase, Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate
from connectors.client import CallFailed
from connectors.testing.backend import Backend, Protocol, Transport

__all__ = ["DOWN", "Scripted", "Sent", "backend_of"]

DOWN = CallFailed("UNAVAILABLE", "it is down")
Answer = Phase | Resource | CallFailed


@dataclass(frozen=True)
class Sent:
    """A create as it was sent."""

    task: TaskTemplate
    inputs: Mapping[str, Any]
    output_prefix: str
    metadata: TaskExecutionMetadata
    secrets: Mapping[str, str]


@dataclass
class Scripted:
    """``creates`` and ``deletes`` say of each call whether it fails, ``gets`` what it is answered; the last one goes on
    for ever."""

    gets: Iterable[Answer] = (Phase.SUCCEEDED,)
    creates: Sequence[CallFailed | None] = (None,)
    deletes: Sequence[CallFailed | None] = (None,)
    takes: float = 0.0
    """How long each call is under way, in seconds."""
    sent: list[Sent] = field(default_factory=list)
    asked: list[tuple[TaskCategory, bytes, str]] = field(default_factory=list)
    deleted: list[bytes] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def __post_init__(self) -> None:
        self._gets = list(self.gets)

    async def create(
        self,
        task: TaskTemplate,
        inputs: Mapping[str, Any],
        *,
        output_prefix: str,
        metadata: TaskExecutionMetadata,
        secrets: Mapping[str, str],
    ) -> bytes:
        self.sent.append(Sent(task, inputs, output_prefix, metadata, secrets))
        number = len(self.sent)
        await self._work()
        _fail(self.creates, number)
        return b"job-%d" % number

    async def get(
        self, category: TaskCategory, meta: bytes, *, output_prefix: str, secrets: Mapping[str, str]
    ) -> Resource:
        self.asked.append((category, meta, output_prefix))
        answer = self._gets[min(len(self.asked), len(self._gets)) - 1]
        await self._work()
        if isinstance(answer, CallFailed):
            raise answer
        return answer if isinstance(answer, Resource) else Resource(answer)

    async def delete(self, category: TaskCategory, meta: bytes, *, secrets: Mapping[str, str]) -> None:
        self.deleted.append(meta)
        await self._work()
        _fail(self.deletes, len(self.deleted))

    async def _work(self) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1


def _fail(script: Sequence[CallFailed | None], number: int) -> None:
    failure = script[min(number, len(script)) - 1]
    if failure is not None:
        raise failure


def backend_of(service: Scripted, protocol: Protocol = "flyte1", **options: Any) -> Backend:
    """A backend that calls ``service``."""

    @asynccontextmanager
    async def connect(*_: object) -> AsyncIterator[Transport]:
        yield service

    connecting: Callable[..., Any] = connect
    return Backend([], protocol=protocol, connect=connecting, **options)
