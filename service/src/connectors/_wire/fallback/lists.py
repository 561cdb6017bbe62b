"""What the other service lists, by protocol: kept, merged with this one's own, and looked up by task type and name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Any

from connectors._messages.decoding import Malformed, check, parse, payloads
from connectors._messages.encoding import serialise
from connectors._messages.schema import varint
from connectors._proto.flyteidl import admin
from connectors._proto.flyteidl2 import connector
from connectors._wire.fallback.other import PASSED_ON, Headers, Other, Unreachable
from connectors._wire.status import Status
from connectors.context import Protocol
from connectors.errors import DeadlineExceeded
from connectors.models import TaskCategory

__all__ = ["Lists"]

_MOST_CATEGORIES = 1_000
"""Task types of the other service that are passed on: each is a value of a metric's label."""
_LIST_FIELD = b"\x0a"  # field 1, a message: the list's only field, in both protocols


@dataclass(frozen=True)
class _Dialect:
    path: str
    response: type[Any]
    entry: type[Any]


_DIALECTS: dict[Protocol, _Dialect] = {
    "flyte1": _Dialect("/flyteidl.service.AgentMetadataService/ListAgents", admin.ListAgentsResponse, admin.Agent),
    "flyte2": _Dialect(
        "/flyteidl2.connector.ConnectorMetadataService/ListConnectors",
        connector.ListConnectorsResponse,
        connector.Connector,
    ),
}


@dataclass(frozen=True)
class _Entry:
    """A connector of the other service."""

    name: str
    categories: frozenset[TaskCategory]
    data: bytes
    """As the other service wrote it."""


class _First:
    """The first message of an answer."""

    data: bytes | None = None

    def initial(self, headers: Headers) -> None:
        """They say nothing about a list."""

    async def message(self, data: bytes) -> None:
        """The list."""
        self.data = data


class Lists:
    """The other service's lists, as they were when it could last be asked."""

    def __init__(self, other: Other) -> None:
        self._other = other
        self._entries: dict[Protocol, tuple[_Entry, ...]] = {}
        self._categories: dict[Protocol, frozenset[TaskCategory]] = {}

    async def refresh(self, *, within: float) -> None:
        """Ask for both.

        :param within: seconds for each.
        :raises Unreachable: it cannot be asked, or gives no list; what is kept stays.
        """
        found = {protocol: await self._fetch(dialect, within) for protocol, dialect in _DIALECTS.items()}
        if all(entries is None for entries in found.values()):
            raise Unreachable(
                f"{self._other.address} is no connector service: it lists no connectors in either protocol"
            )
        for protocol, entries in found.items():
            self._keep(protocol, entries or ())

    @property
    def known(self) -> bool:
        """Whether the other service could ever be asked."""
        return bool(self._entries)

    @property
    def task_types(self) -> Collection[str]:
        """All that it lists."""
        return {category.name for categories in self._categories.values() for category in categories}

    def has(self, protocol: Protocol, category: TaskCategory) -> bool:
        """Whether it serves a task type."""
        return category in self._categories.get(protocol, ())

    def names(self, protocol: Protocol, name: str) -> bool:
        """Whether it lists a connector of this name."""
        return any(entry.name == name for entry in self._entries.get(protocol, ()))

    def without(self, protocol: Protocol, ours: Collection[TaskCategory]) -> bytes:
        """Its list as bytes, without the task types in ``ours``."""
        merged = bytearray()
        for entry in self._entries.get(protocol, ()):
            data = entry.data
            if entry.categories and not entry.categories.isdisjoint(ours):
                kept = entry.categories.difference(ours)
                if not kept:
                    continue
                data = _reduced(_DIALECTS[protocol].entry, data, kept)
            merged += _LIST_FIELD + varint(len(data)) + data
        return bytes(merged)

    async def _fetch(self, dialect: _Dialect, within: float) -> tuple[_Entry, ...] | None:
        """None where the other service does not speak the protocol."""
        first = _First()
        until = asyncio.get_running_loop().time() + within
        try:
            trailers = dict(
                await self._other.call(dialect.path, [(PASSED_ON.encode(), b"1")], _empty(), first, until=until)
            )
        except DeadlineExceeded:
            raise Unreachable(f"{self._other.address} did not list its connectors within {within:g} s") from None
        status = trailers.get(b"grpc-status", b"")
        if status == b"%d" % Status.UNIMPLEMENTED:
            return None
        if status != b"0" or first.data is None:
            code = status.decode("ascii", "replace")
            raise Unreachable(f"{self._other.address} did not list its connectors: it answered with status {code}")
        try:
            check(dialect.response, first.data)
            return tuple(
                _entry(dialect.entry, content)
                for number, content, _ in payloads(first.data)
                if number == 1 and isinstance(content, bytes)
            )
        except Malformed as error:
            raise Unreachable(f"{self._other.address} did not list its connectors: {error}") from None

    def _keep(self, protocol: Protocol, entries: tuple[_Entry, ...]) -> None:
        listed: dict[TaskCategory, None] = {}
        for entry in entries:
            listed |= dict.fromkeys(sorted(entry.categories, key=lambda each: (each.name, each.version)))
        self._entries[protocol] = entries
        self._categories[protocol] = frozenset(list(listed)[:_MOST_CATEGORIES])


async def _empty() -> AsyncGenerator[bytes, None]:
    yield b""  # both requests have no fields


def _entry(cls: type[Any], data: bytes) -> _Entry:
    message = parse(cls, data)
    categories = {TaskCategory(each.name, each.version) for each in message.supported_task_categories}
    if not categories:  # what was listed before there were versions
        categories = {TaskCategory(name) for name in getattr(message, "supported_task_types", ())}
    return _Entry(message.name, frozenset(categories), data)


def _reduced(cls: type[Any], data: bytes, kept: Collection[TaskCategory]) -> bytes:
    message = parse(cls, data)
    message.supported_task_categories = [
        each for each in message.supported_task_categories if TaskCategory(each.name, each.version) in kept
    ]
    if hasattr(message, "supported_task_types"):
        names = {category.name for category in kept}
        message.supported_task_types = [each for each in message.supported_task_types if each in names]
    return serialise(message)
