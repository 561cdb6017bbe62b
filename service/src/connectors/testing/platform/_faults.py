"""Scripted faults: what the platform is to do wrong, how often, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Fault", "Operation"]

Operation = Literal["submit", "get", "cancel", "list"]
_OPERATIONS = ("submit", "get", "cancel", "list")
_ACTIONS = ("lose", "answer", "hang", "slow", "state")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. Times are in seconds.

    ``lose``: the connection ends without an answer. ``answer``: the answer is ``status``. ``hang``: there is no answer;
    the connection ends with the fault's time, or with the platform. ``slow``: the request waits for ``delay`` first,
    and goes on. ``state``: the job is shown in ``state``, a word that the platform's caller may not know.
    """

    action: Literal["lose", "answer", "hang", "slow", "state"]
    operations: tuple[Operation, ...] = ()
    """Which it meets; none named: all."""
    committed: bool = False
    """Whether the request is carried out nevertheless, before its answer goes wrong: lose, answer, hang."""
    probability: float = 1.0
    """Of a request to meet it. The draws depend on the platform's seed, the operation, the job's key, and how often
    this key was meant before: not on the order in which requests of several keys arrive."""
    times: int | None = None
    """How many requests meet it; None: no bound."""
    seconds: float | None = None
    """For how long it lasts, from when it is set; None: until it is cleared."""
    key: str = ""
    """The only key that it is for; "": all."""
    status: int = 503
    retry_after: str = ""
    """The ``Retry-After`` that goes with the status, in either form; "": none."""
    delay: float = 0.0
    """Also before the others."""
    state: str = ""

    def __post_init__(self) -> None:
        """:raises ValueError: it is no fault that there is."""
        if self.action not in _ACTIONS:
            raise ValueError(f"a fault's action is one of {', '.join(_ACTIONS)}")
        unknown = [each for each in self.operations if each not in _OPERATIONS]
        if unknown:
            raise ValueError(f"a fault's operations are of {', '.join(_OPERATIONS)}, not {unknown[0]}")

    def is_for(self, operation: Operation, key: str) -> bool:
        """Whether a request is one that it is for."""
        return (not self.operations or operation in self.operations) and self.key in {"", key}

    @classmethod
    def from_json(cls, body: Any) -> Fault:
        """What a request's body says.

        :raises ValueError: it is no fault.
        """
        if not isinstance(body, Mapping) or body.keys() - cls.__dataclass_fields__.keys() or "action" not in body:
            raise ValueError("a fault is an object of the members of Fault, action among them")
        return cls(**{**body, "operations": tuple(body.get("operations", ()))})
