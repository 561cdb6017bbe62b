"""Which calls are passed on, and how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from connectors._engine.engine import Engine
from connectors._engine.outcome import AnsweredElsewhere
from connectors._engine.requests import Caller, CreateRequest, JobRequest
from connectors._wire.fallback.lists import Lists
from connectors._wire.fallback.other import PASSED_ON, Headers, Other, metadata_of
from connectors._wire.status import Status, StatusError
from connectors._wire.transport import Call, CallEnded
from connectors.context import Protocol
from connectors.models import TaskCategory

__all__ = ["Fallback"]

Messages: TypeAlias = AsyncGenerator[bytes, None]
_MARK = (PASSED_ON.encode(), b"1")
_MESSAGE = b"grpc-message"
_METADATA_S = 10.0  # seconds for a call about no task, where its caller sets no shorter time


class Fallback:
    """Passes calls on to another service, around the engine's limits and events."""

    def __init__(self, other: Other, lists: Lists, engine: Engine) -> None:
        self._other = other
        self._lists = lists
        self._engine = engine

    # --- what is passed on

    def takes(self, call: Call, protocol: Protocol, category: TaskCategory) -> bool:
        """Whether a task type is the other service's: one that it lists, and that is not served here. While nothing is
        known of the other service, that is any which is not served here.
        """
        if self._engine.registry.serves(category) or PASSED_ON in call.metadata:
            return False
        return self._lists.has(protocol, category) or not self._lists.known

    def takes_job(self, call: Call, request: JobRequest) -> bool:
        """The same of a job. Where both serve the task type it is this one's, unless the connector here cannot read the
        meta: then the other service made the job, and wrote its meta in a form of its own.
        """
        category, protocol = request.category, request.caller.protocol
        if not self._engine.registry.serves(category):
            return self.takes(call, protocol, category)
        if PASSED_ON in call.metadata or not self._lists.has(protocol, category):
            return False
        return not self._engine.reads(request)

    def takes_name(self, call: Call, protocol: Protocol, name: str) -> bool:
        """Whether the other service alone lists a connector of this name."""
        if PASSED_ON in call.metadata or any(item.connector.name == name for item in self._engine.registry):
            return False
        return self._lists.names(protocol, name)

    def listed(self, call: Call, protocol: Protocol) -> bytes:
        """What stands before this server's own list. Callers keep the last that is listed of each task type."""
        if PASSED_ON in call.metadata:
            return b""
        return self._lists.without(protocol, {item.category for item in self._engine.registry})

    # --- how

    async def create(self, call: Call, data: bytes, request: CreateRequest) -> bytes:
        """Pass a create on; returns the answer's bytes."""
        reply = _Unary(call)
        await self._recorded(
            _Passed(call, _messages(data), "create", request.category, request.caller),
            reply,
            input_bytes=request.input_bytes,
            metadata=request.metadata,
        )
        return reply.data

    async def job(self, call: Call, data: bytes, operation: str, request: JobRequest) -> bytes:
        """Pass a call about a job on; returns the answer's bytes."""
        reply = _Unary(call)
        await self._recorded(_Passed(call, _messages(data), operation, request.category, request.caller), reply)
        return reply.data

    async def job_stream(self, call: Call, data: bytes, operation: str, request: JobRequest) -> None:
        """Pass on a call about a job that is answered by a stream."""
        passed = _Passed(call, _messages(data), operation, request.category, request.caller)
        await self._recorded(passed, _Stream(call))

    async def execute(self, call: Call, received: Sequence[bytes], category: TaskCategory, caller: Caller) -> None:
        """Pass on a call that is a stream both ways.

        :param received: the messages that were taken from it.
        """
        await self._recorded(_Passed(call, _messages(*received, then=call), "do", category, caller), _Stream(call))

    async def metadata(self, call: Call, data: bytes) -> bytes:
        """Pass on a call about no task; returns the answer's bytes."""
        until = asyncio.get_running_loop().time() + _METADATA_S
        reply = _Unary(call)
        try:
            await self._pass(call, _messages(data), reply, until=min(until, call.deadline or until))
        except _Status as error:
            raise error.as_it_was() from None
        return reply.data

    async def _recorded(self, passed: _Passed, reply: _Unary | _Stream, **recorded: Any) -> None:
        listed = self._lists.has(passed.caller.protocol, passed.category)
        around = self._engine.passed_on(
            passed.operation, passed.category.name, passed.caller, listed=listed, **recorded
        )
        try:
            async with around as until:
                await self._pass(passed.call, passed.requests, reply, until=until)
        except _Status as error:
            raise error.as_it_was() from None

    async def _pass(self, call: Call, requests: Messages, reply: _Unary | _Stream, *, until: float) -> None:
        """:raises AnsweredElsewhere: the answer is another status than OK."""
        metadata = [*metadata_of(call.headers), _MARK]
        try:
            trailers = await self._other.call(call.method, metadata, requests, reply, until=until)
        except CallEnded:
            raise AnsweredElsewhere("the caller is gone", status=Status.CANCELLED.name) from None
        status, beside = _status(trailers), metadata_of(trailers)
        if status is not Status.OK:
            raise _Status(status, [*(each for each in trailers if each[0] == _MESSAGE), *beside])
        reply.over()
        call.describe(trailing=beside)


@dataclass(frozen=True)
class _Passed:
    """A call about a task."""

    call: Call
    requests: Messages
    operation: str
    category: TaskCategory
    caller: Caller


class _Status(AnsweredElsewhere):
    """A status, with what came beside it."""

    def __init__(self, status: Status, beside: Headers) -> None:
        text = unquote_to_bytes(dict(beside).get(_MESSAGE, b"")).decode("utf-8", "replace")
        super().__init__(text or f"the fallback service answered {status.name}", status=status.name)
        self._number = status
        self._beside = beside

    def as_it_was(self) -> StatusError:
        """For the caller: the message as it came, where the log has it made fit for people."""
        return StatusError(self._number, self.message, trailers=self._beside)


class _Unary:
    """An answer of one message."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._messages: list[bytes] = []

    def initial(self, headers: Headers) -> None:
        self._call.describe(initial=metadata_of(headers))

    async def message(self, data: bytes) -> None:
        self._messages.append(data)
        if len(self._messages) > 1:
            raise AnsweredElsewhere("the fallback service answered with several messages", status="INTERNAL")

    def over(self) -> None:
        if not self._messages:
            raise AnsweredElsewhere("the fallback service answered with no message", status="INTERNAL")

    @property
    def data(self) -> bytes:
        return self._messages[0]


class _Stream:
    """An answer of any number of messages."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def initial(self, headers: Headers) -> None:
        self._call.describe(initial=metadata_of(headers))

    async def message(self, data: bytes) -> None:
        await self._call.send(data)

    def over(self) -> None:
        """Any number is right."""


async def _messages(*received: bytes, then: Call | None = None) -> Messages:
    for each in received:
        yield each
    while then is not None and (following := await then.receive()) is not None:
        yield following


def _status(trailers: Headers) -> Status:
    code = dict(trailers).get(b"grpc-status", b"")
    try:
        return Status(int(code))
    except ValueError:  # what clients take a code for that they do not know, too
        return Status.UNKNOWN
