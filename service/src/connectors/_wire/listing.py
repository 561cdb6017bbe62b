"""Which connectors there are: the list that both protocols give, and one by its name."""

from __future__ import annotations

from collections.abc import Sequence

from connectors._registry import Registered, Registry
from connectors._wire.rejection import Reason, Rejected
from connectors._wire.status import Status

__all__ = ["find"]

_NAMED_IN_ERRORS = 20


def find(registry: Registry, name: str) -> Sequence[Registered]:
    """The connectors of a name and of one kind: those of a plugin that serves several task types under it.

    :raises Rejected: NOT_FOUND, naming up to 20 that there are.
    """
    named = [item for item in registry if item.connector.name == name]
    if not named:
        known = sorted({item.connector.name for item in registry})
        names = ", ".join(known[:_NAMED_IN_ERRORS]) or "none"
        more = f" and {len(known) - _NAMED_IN_ERRORS} more" if len(known) > _NAMED_IN_ERRORS else ""
        message = f"no connector here is named {name[:80]!r}; there are: {names}{more}"
        raise Rejected(Status.NOT_FOUND, Reason.UNKNOWN_NAME, message)
    return [item for item in named if item.kind == named[0].kind]
