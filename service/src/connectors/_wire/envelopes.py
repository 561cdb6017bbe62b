"""Requests in parts, and what is found out once.

Small parts are parsed at once, which also checks them; their native values are made when they are asked for. Large ones
are checked, and read as a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

from connectors._messages.decoding import check, parse, parts, payloads
from connectors._messages.schema import plan_of, varint
from connectors.errors import InvalidRequest
from connectors.models import TaskCategory

__all__ = ["Envelope", "Once", "task_category_in"]

T = TypeVar("T")


class Envelope:
    """A message whose parts are bytes until they are asked for, by the names of its fields: messages and texts. Whoever
    takes a part is to check or to parse it.
    """

    def __init__(self, cls: type[Any], data: bytes) -> None:
        """:raises Malformed: the bytes are not what ``cls`` says, as far as its own fields go."""
        self._cls = cls
        self._fields = plan_of(cls).by_name
        self._parts = parts(cls, data)

    def raw(self, name: str) -> bytes | None:
        """The bytes of a message, None where it is absent. One that came in pieces is the pieces in a row, as protobuf
        has it.
        """
        part = self._parts.get(name)
        return None if part is None else bytes(part)

    def message(self, name: str, cls: type[T]) -> T | None:
        """A message, None where it is absent. :raises Malformed: its bytes are none."""
        part = self._parts.get(name)
        return None if part is None else parse(cls, bytes(part), part_of=self._cls)

    def reader(self, name: str, cls: type[T], *, streamed: Collection[type[Any]] | None) -> Callable[[], T]:
        """Gives a message, an empty one where it is absent.

        :param streamed: of a large one, what is to be read as a stream: it is checked now, and parsed by whoever asks.
            None: it is parsed now, which takes no longer than to check it.
        :raises Malformed: its bytes are no such message.
        """
        data = self.raw(name) or b""
        if streamed is None:
            message = parse(cls, data, part_of=self._cls)
            return lambda: message
        check(cls, data, part_of=self._cls)
        return lambda: parse(cls, data, streamed=streamed)

    def text(self, name: str) -> str:
        """A text; "" where it is absent."""
        return self._parts.get(name, b"").decode()

    def without(self, name: str) -> bytes:
        """The message but for one field, and for what this release does not know."""
        whole = bytearray()
        for its, content in self._parts.items():
            if its != name:
                whole += self._fields[its].key + varint(len(content)) + content
        return bytes(whole)


class Once(Generic[T]):
    """What ``read`` returns, found out when it is first asked for. An InvalidRequest is kept as well, since finding it
    took as long.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read: Callable[[], T] | None = read
        self._value: T
        self._fault = ""

    @property
    def prepared(self) -> bool:
        """Whether it is known by now."""
        return self._read is None

    def prepare(self) -> None:
        """Find out now, without raising what is kept."""
        if self._read is not None:
            try:
                self._value = self._read()
            except InvalidRequest as error:
                self._fault = error.message
            self._read = None  # and with it the bytes

    def __call__(self) -> T:
        """:raises InvalidRequest: it says so."""
        self.prepare()
        if self._fault:
            raise InvalidRequest(self._fault)
        return self._value


def task_category_in(cls: type[Any], template: bytes) -> TaskCategory:
    """The type and version in a template's checked bytes; "" where it names no type.

    :param cls: the protocol's ``TaskTemplate``.
    """
    fields = plan_of(cls).by_name
    kind, version = fields["type"], fields["task_type_version"]
    name, number = b"", 0
    for its, content, _ in payloads(template):
        if its == kind.number and isinstance(content, bytes):
            name = content
        elif its == version.number and isinstance(content, int):
            number = version.detail.of(content)
    return TaskCategory(name.decode(), number)
