"""Outputs that are already literals: they are written as they stand, whichever protocol asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from connectors._literals import literal_map, natives_from_inputs, outputs
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import task
from connectors.models import LiteralType

__all__ = ["WrittenOutputs", "holds_many", "write_outputs_v1", "write_outputs_v2"]

_MANY = 1_000  # values: to write as many takes some 30 ms


class WrittenOutputs(Mapping[str, Any]):
    """A mapping of native values like any other, that remembers the literals it came from: a native value alone does
    not tell a union's variant or a typed map from others.
    """

    def __init__(self, message: task.Outputs, *, many: bool = False) -> None:
        """:param many: whether they are so many that to write them would hold the event loop."""
        self.message = message
        self.many = many

    @classmethod
    def of(cls, values: Mapping[str, Any], declared: Mapping[str, LiteralType]) -> WrittenOutputs:
        """:raises InvalidRequest: an output does not fit its declared type.
        :raises Unencodable: a value has no form on the wire; the message names it.
        """
        return cls(outputs(values, declared), many=holds_many(values))

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        return natives_from_inputs(self.message, "output")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # as any mapping that compares by value


def holds_many(values: Mapping[str, Any] | None) -> bool:
    """Whether there are so many values, lists and maps counted with all that is in them, that to write them would hold
    the event loop.
    """
    if values is None:
        return False
    if isinstance(values, WrittenOutputs):
        return values.many
    left = _MANY
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        inner: Any = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        left -= len(inner)
        if left < 0:
            return True
        waiting.extend(inner)
    return False


def write_outputs_v1(values: Mapping[str, Any]) -> core_v1.LiteralMap:
    """Flyte 1's outputs. :raises: as :meth:`WrittenOutputs.of` does."""
    if not isinstance(values, WrittenOutputs):
        return literal_map(values)
    # Flyte 2's literals as they stand: they have every field of Flyte 1's, and are written by its declarations
    literals: dict[str, Any] = {each.name: each.value for each in values.message.literals if each.value is not None}
    return core_v1.LiteralMap(literals=literals)


def write_outputs_v2(values: Mapping[str, Any]) -> task.Outputs:
    """Flyte 2's outputs. :raises: as :meth:`WrittenOutputs.of` does."""
    return values.message if isinstance(values, WrittenOutputs) else outputs(values)
