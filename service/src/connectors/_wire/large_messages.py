"""Large requests are read, and large answers written, beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from connectors._engine.beside_the_loop import LARGE, beside_the_loop
from connectors._messages.decoding import parse
from connectors._messages.written import holds_many
from connectors._wire.rejection import reading
from connectors.models import Resource

__all__ = ["LARGE", "parsed", "read", "written"]

T = TypeVar("T")


async def read(size: int, function: Callable[[], T]) -> T:
    """What ``function`` makes of a request, its errors as :func:`~connectors._wire.rejection.reading` has them.

    :param size: of the request, in bytes.
    """
    with reading():
        return function() if size < LARGE else await beside_the_loop(function)


async def parsed(cls: type[T], data: bytes) -> T:
    """The message that a request holds. :raises Rejected: INTERNAL, its bytes are no such message."""
    return await read(len(data), lambda: parse(cls, data))


async def written(resource: Resource, function: Callable[[], bytes]) -> bytes:
    """The bytes that ``function`` makes of a resource."""
    return await beside_the_loop(function) if holds_many(resource.outputs) else function()
