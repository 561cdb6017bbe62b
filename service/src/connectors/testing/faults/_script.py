"""Which of the faults that are set a request meets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["FaultScript", "Scripted"]


class Scripted(Protocol):
    """What a fault of any kind says of itself. Times are in seconds."""

    @property
    def action(self) -> str:
        """What goes wrong; after ``slow`` the request goes on, and may meet another fault."""

    @property
    def delay(self) -> float:
        """How long the request waits first."""

    @property
    def probability(self) -> float:
        """Of a request that it is for to meet it, from 0 to 1."""

    @property
    def times(self) -> int | None:
        """How many requests meet it; None: no bound."""

    @property
    def seconds(self) -> float | None:
        """For how long it lasts, from when it is set; None: until it is cleared."""


FaultT = TypeVar("FaultT", bound=Scripted)


@dataclass
class _Set(Generic[FaultT]):
    fault: FaultT
    number: int
    until: float | None
    hits: int = 0


class FaultScript(Generic[FaultT]):
    """The faults that are set, in order."""

    def __init__(self, clock: Callable[[], float], seed: int = 0) -> None:
        """:param clock: seconds. :param seed: of the draws, where a fault has a probability."""
        self._clock = clock
        self._seed = seed
        self._set: list[_Set[FaultT]] = []
        self._numbers = 0
        self._drawn: Counter[tuple[object, ...]] = Counter()

    def add(self, fault: FaultT) -> None:
        """From now on, after those that are set already."""
        until = None if fault.seconds is None else self._clock() + fault.seconds
        self._set.append(_Set(fault, self._numbers, until))
        self._numbers += 1

    def clear(self) -> None:
        """None from now on."""
        self._set.clear()

    def hits(self) -> list[tuple[FaultT, int]]:
        """Those that are set, and how many requests each has met."""
        return [(each.fault, each.hits) for each in self._set]

    def meet(
        self, is_for: Callable[[FaultT], bool], *, drawn_by: tuple[object, ...] = ()
    ) -> tuple[float, FaultT | None, float | None]:
        """What a request meets: for how long it waits, the first fault that is not ``slow``, and when that fault's time
        ends.

        :param is_for: whether a fault is for this request. :param drawn_by: what the draws depend on, beside the seed,
            the fault, and how often the same was drawn by before: so they do not depend on the order of other requests.
        """
        now, delay = self._clock(), 0.0
        for each in self._set:
            fault = each.fault
            if (
                not is_for(fault)
                or (each.until is not None and now >= each.until)
                or (fault.times is not None and each.hits >= fault.times)
                or not self._drawn_for(each, drawn_by)
            ):
                continue
            each.hits += 1
            delay += fault.delay
            if fault.action != "slow":
                return delay, fault, each.until
        return delay, None, None

    def _drawn_for(self, each: _Set[FaultT], drawn_by: tuple[object, ...]) -> bool:
        if each.fault.probability >= 1:
            return True
        which = (each.number, *drawn_by)
        self._drawn[which] += 1
        drawn = random.Random(f"{self._seed}/{which}/{self._drawn[which]}").random()
        return drawn < each.fault.probability
