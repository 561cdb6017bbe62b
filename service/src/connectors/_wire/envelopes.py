"""Requests that are checked whole, and read no further than they have to be.

A create that repeats another is answered without its template or its inputs having been decoded, unless they are so
large that decoding them has to be done beside the event loop, ahead of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from connectors._messages.decoding import check, payloads
from connectors._messages.schema import Kind, plan_of, varint
from connectors.errors import InvalidRequest
from connectors.models import TaskCategory

__all__ = ["Envelope", "Once", "task_category_of"]

T = TypeVar("T")


class Envelope:
    """A message whose parts are bytes until they are asked for, by the names of its fields: messages and texts."""

    def __init__(self, cls: type[Any], data: bytes) -> None:
        """:raises Malformed: the bytes, to the innermost message, are not what ``cls`` says."""
        check(cls, data)
        self._fields = plan_of(cls).by_name
        by_number = {field.number: field for field in self._fields.values()}
        self._parts: dict[str, bytearray] = {}
        for number, content, _ in payloads(data):
            field = by_number.get(number)
            if field is None or not isinstance(content, bytes):
                continue
            if field.kind == Kind.MESSAGE:  # grown in place: there may be millions of pieces
                self._parts.setdefault(field.name, bytearray()).extend(content)
            else:
                self._parts[field.name] = bytearray(content)

    def raw(self, name: str) -> bytes | None:
        """The bytes of a message, None where it is absent. One that came in pieces is the pieces in a row, as protobuf
        has it.
        """
        part = self._parts.get(name)
        return None if part is None else bytes(part)

    def text(self, name: str) -> str:
        """A text; "" where it is absent."""
        return self._parts.get(name, bytearray()).decode()

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


def task_category_of(cls: type[Any], template: bytes | None) -> TaskCategory:
    """The type and version in a template's checked bytes.

    :param cls: the protocol's ``TaskTemplate``.
    :raises InvalidRequest: there is no template, or it names no type.
    """
    if template is None:
        raise InvalidRequest("template is missing: the request names no task")
    fields = plan_of(cls).by_name
    kind, version = fields["type"], fields["task_type_version"]
    name, number = b"", 0
    for its, content, _ in payloads(template):
        if its == kind.number and isinstance(content, bytes):
            name = content
        elif its == version.number and isinstance(content, int):
            number = version.detail.of(content)
    if not name:
        raise InvalidRequest("template.type is empty: it names the connector")
    return TaskCategory(name.decode(), number)
