"""Outputs that are already literals: they are written as they stand, whichever protocol asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from connectors._literals import literal_map, natives_from_inputs, outputs
from connectors._messages.decoding import parse
from connectors._messages.encoding import serialise
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import task
from connectors.models import LiteralType

__all__ = ["WrittenOutputs", "write_outputs_v1", "write_outputs_v2"]


class WrittenOutputs(Mapping[str, Any]):
    """A mapping of native values like any other, that remembers the literals it came from: a native value alone does
    not tell a union's variant or a typed map from others.
    """

    def __init__(self, message: task.Outputs) -> None:
        self.message = message

    @classmethod
    def of(cls, values: Mapping[str, Any], declared: Mapping[str, LiteralType]) -> WrittenOutputs:
        """:raises InvalidRequest: an output does not fit its declared type.
        :raises Unencodable: a value has no form on the wire; the message names it.
        """
        return cls(outputs(values, declared))

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


def write_outputs_v1(values: Mapping[str, Any]) -> core_v1.LiteralMap:
    """Flyte 1's outputs. :raises: as :meth:`WrittenOutputs.of` does."""
    if not isinstance(values, WrittenOutputs):
        return literal_map(values)
    # the two protocols' literals have the same numbers and types on the wire
    return core_v1.LiteralMap(
        literals={
            each.name: parse(core_v1.Literal, serialise(each.value))
            for each in values.message.literals
            if each.value is not None
        }
    )


def write_outputs_v2(values: Mapping[str, Any]) -> task.Outputs:
    """Flyte 2's outputs. :raises: as :meth:`WrittenOutputs.of` does."""
    return values.message if isinstance(values, WrittenOutputs) else outputs(values)
