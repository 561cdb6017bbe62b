"""The two protocols as the tests see them: our message classes beside the callers' own, from flyteidl and flyteidl2."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import flyteidl.core.literals_pb2
import flyteidl.core.types_pb2
import flyteidl2.core.literals_pb2
import flyteidl2.core.types_pb2

from connectors._literals import to_literal
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from connectors.models import LiteralType


@dataclass(frozen=True)
class Protocol:
    """One protocol: ``core`` is ours, ``literals`` and ``types`` are the callers'."""

    name: str
    core: ModuleType
    literals: Any
    types: Any

    def ours(self, theirs: Any) -> Any:
        """A caller's literal as the service receives it: through its bytes."""
        return self.core.Literal.parse(theirs.SerializeToString())

    def theirs(self, value: Any, expected: LiteralType | None = None) -> Any:
        """A value of ours as a caller receives it: through its bytes."""
        return self.literals.Literal.FromString(bytes(to_literal(value, self.core, expected)))

    def primitive(self, **value: Any) -> Any:
        """A caller's literal of a primitive."""
        literals = self.literals
        return literals.Literal(scalar=literals.Scalar(primitive=literals.Primitive(**value)))

    def scalar(self, **value: Any) -> Any:
        """A caller's literal of another scalar."""
        return self.literals.Literal(scalar=self.literals.Scalar(**value))


FLYTE_1 = Protocol("flyte1", core_v1, flyteidl.core.literals_pb2, flyteidl.core.types_pb2)
FLYTE_2 = Protocol("flyte2", core_v2, flyteidl2.core.literals_pb2, flyteidl2.core.types_pb2)
