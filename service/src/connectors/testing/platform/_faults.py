"""Scripted faults: what the platform is to do wrong, how often, and for how long."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Fault", "FaultScript", "Operation"]

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
    state: str = ""

    def __post_init__(self) -> None:
        """:raises ValueError: it is no fault that there is."""
        if self.action not in _ACTIONS:
            raise ValueError(f"a fault's action is one of {', '.join(_ACTIONS)}")
        unknown = [each for each in self.operations if each not in _OPERATIONS]
        if unknown:
            raise ValueError(f"a fault's operations are of {', '.join(_OPERATIONS)}, not {unknown[0]}")

    @classmethod
    def from_json(cls, body: Any) -> Fault:
        """What a request's body says.

        :raises ValueError: it is no fault.
        """
        if not isinstance(body, Mapping) or body.keys() - cls.__dataclass_fields__.keys() or "action" not in body:
            raise ValueError("a fault is an object of the members of Fault, action among them")
        return cls(**{**body, "operations": tuple(body.get("operations", ()))})


@dataclass
class _Set:
    fault: Fault
    number: int
    until: float | None
    hits: int = 0


class FaultScript:
    """The faults that are set, in order."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._set: list[_Set] = []
        self._numbers = 0
        self._drawn: Counter[tuple[int, str, str]] = Counter()

    def add(self, fault: Fault) -> None:
        """From now on."""
        until = None if fault.seconds is None else self._clock() + fault.seconds
        self._set.append(_Set(fault, self._numbers, until))
        self._numbers += 1

    def clear(self) -> None:
        """None from now on."""
        self._set.clear()

    def hits(self) -> list[tuple[Fault, int]]:
        """Those that are set, and how many requests each has met."""
        return [(each.fault, each.hits) for each in self._set]

    def meet(self, operation: Operation, key: str) -> tuple[float, Fault | None, float | None]:
        """What a request meets: for how long it waits, the first other fault, and when that fault's time ends."""
        now, delay = self._clock(), 0.0
        for each in self._set:
            fault = each.fault
            if (
                (fault.operations and operation not in fault.operations)
                or (fault.key and fault.key != key)
                or (each.until is not None and now >= each.until)
                or (fault.times is not None and each.hits >= fault.times)
                or not self._drawn_for(each, operation, key)
            ):
                continue
            each.hits += 1
            if fault.action != "slow":
                return delay, fault, each.until
            delay += fault.delay
        return delay, None, None

    def _drawn_for(self, each: _Set, operation: Operation, key: str) -> bool:
        if each.fault.probability >= 1:
            return True
        which = (each.number, operation, key)
        self._drawn[which] += 1
        drawn = random.Random(f"{self._seed}/{which}/{self._drawn[which]}").random()
        return drawn < each.fault.probability
