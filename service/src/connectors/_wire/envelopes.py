"""Requests that are checked whole, and read no further than they have to be.

A create that repeats another is answered without its template or its inputs having been decoded.
"""

from __future__ import annotations

from typing import Any

from connectors._messages.decoding import check, payloads
from connectors._messages.schema import plan_of
from connectors.errors import InvalidRequest
from connectors.models import TaskCategory

__all__ = ["Envelope", "task_category_of"]


class Envelope:
    """A message whose parts are bytes until they are asked for, by the names of its fields."""

    def __init__(self, cls: type[Any], data: bytes) -> None:
        """:raises Malformed: the bytes, to the innermost message, are not what ``cls`` says."""
        check(cls, data)
        self._numbers = {name: field.number for name, field in plan_of(cls).by_name.items()}
        self._parts = list(payloads(data))

    def raw(self, name: str) -> bytes | None:
        """The bytes of a message, None where it is absent. One that came in pieces is the pieces in a row, as protobuf
        has it.
        """
        pieces = self._pieces(name)
        return b"".join(pieces) if pieces else None

    def text(self, name: str) -> str:
        """A text; "" where it is absent."""
        pieces = self._pieces(name)
        return pieces[-1].decode() if pieces else ""

    def without(self, name: str) -> bytes:
        """The whole message but for one field."""
        number = self._numbers[name]
        return b"".join(field for its, _, field in self._parts if its != number)

    def _pieces(self, name: str) -> list[bytes]:
        number = self._numbers[name]
        return [content for its, content, _ in self._parts if its == number and isinstance(content, bytes)]


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
