"""The base of the generated messages. A message's class is made a dataclass when it is first used.

There are over two hundred of them. Making them all dataclasses takes a tenth of a server's start, and it uses few.
"""

from __future__ import annotations

from dataclasses import Field, dataclass
from threading import RLock
from typing import Any, dataclass_transform

import betterproto2

__all__ = ["LazyMessage"]

_completing = RLock()


class _Fields:
    """`__dataclass_fields__` of a class that is no dataclass yet: whoever asks for it makes it one."""

    def __get__(self, _: object, owner: type[betterproto2.Message]) -> dict[str, Field[Any]]:
        if owner is LazyMessage:
            raise AttributeError
        _complete(owner)
        fields: dict[str, Field[Any]] = vars(owner)["__dataclass_fields__"]
        return fields


@dataclass_transform(eq_default=False)
class LazyMessage(betterproto2.Message):
    """Its subclasses declare their fields, and are no further derived from."""

    __dataclass_fields__ = _Fields()

    def __init__(self, *args: Any, **values: Any) -> None:
        # The dataclass's own takes the place of this one in the class, before another thread can call it.
        _complete(type(self))
        type(self).__init__(self, *args, **values)


def _complete(message: type[betterproto2.Message]) -> None:
    with _completing:
        if "__init__" not in vars(message):
            dataclass(eq=False, repr=False)(message)
