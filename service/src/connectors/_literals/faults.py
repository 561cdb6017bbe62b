"""What is wrong with a value, and where it stands inside its variable.

A text here names types and places, never a value: a value may be secret.
"""

from __future__ import annotations

from typing import Any, Self

__all__ = ["MAX_DEPTH", "Fault", "Misfit", "Unencodable", "key_step", "too_deep", "type_name"]

MAX_DEPTH = 100
"""How many containers may stand inside each other: far more than real values have, far less than Python's stack."""

_LONGEST_KEY = 60


class Unencodable(ValueError):
    """A connector returned a value that no literal can hold. It is the connector's mistake, not the caller's."""


class Fault(Exception):
    """A value that cannot be carried over.

    The path to it grows from the inside out, while the error passes the containers: nothing is spent on it when all is
    well.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.steps: list[str] = []

    def inside(self, step: str) -> None:
        """Note that the faulty value stands at ``step`` (``[3]`` or ``.name``) of the container being left."""
        self.steps.append(step)

    def again(self) -> Self:
        """A copy to raise another time: the path of the first one stays as it is."""
        fault = type(self)(self.text)
        fault.steps.extend(self.steps)
        return fault

    def at(self, root: str) -> str:
        """The sentence, with the whole path from the variable's name on."""
        return f"{root}{''.join(reversed(self.steps))}: {self.text}"


class Misfit(Fault):
    """A value that could be carried over, but not as the type that was declared for it."""


def key_step(key: object) -> str:
    """The step into a mapping: ``.name`` where it reads well, else ``['any key']``, shortened when it is long."""
    if isinstance(key, str) and key.isidentifier() and len(key) <= _LONGEST_KEY:
        return f".{key}"
    shown = repr(key) if isinstance(key, str | int) else type_name(key)
    return f"[{shown if len(shown) <= _LONGEST_KEY else shown[:_LONGEST_KEY] + '…'}]"


def too_deep() -> Fault:
    """The fault of a value that nests more than ``MAX_DEPTH`` containers (or contains itself)."""
    return Fault(f"nested more than {MAX_DEPTH} levels deep")


def type_name(value: Any) -> str:
    """The type of a value, as its author knows it."""
    return "None" if value is None else type(value).__name__
