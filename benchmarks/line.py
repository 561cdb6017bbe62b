"""A line of the benchmark's table: what was measured of this service and beside it, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

__all__ = ["Line", "Measure", "Verdict"]

Verdict = Literal["aim", "met", "missed", "not measured"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line. Rounds alternate between ours and theirs: figure *n* of both was measured one after the other."""

    name: str
    """What is measured, for a person."""
    unit: str
    """Of the figures: ``calls/s``, ``ms``, ``MB`` …"""
    ours: tuple[float, ...] = ()
    """This service's, one a round."""
    theirs: tuple[float, ...] = ()
    """The same of what it is compared with; empty where the bound is on our figure itself."""
    shown: tuple[float, ...] = ()
    """The same of what stands beside it where the bound is on our figure itself: shown, and not judged by."""
    beside: str = ""
    """What it is compared with: ``reference``, ``raw grpclib``, ``one server`` …"""
    bound: float | None = None
    """What is to be reached: of the ratio ours/theirs where there is something beside it, else of our median."""
    aim: float | None = None
    """What is aimed at, of the same figure."""
    more_is_better: bool = True
    """False of times and memory: the bound is then the most that it may be."""
    not_measured: str = ""
    """Why there are no figures."""
    notes: tuple[str, ...] = ()
    """Sentences for the foot of the table: what stood beside the figure, and how far to trust it."""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours to theirs, round by round; empty where nothing stands beside it."""
        return tuple(mine / other for mine, other in zip(self.ours, self.theirs, strict=False) if other)

    @property
    def figure(self) -> float | None:
        """What the bound is of: the median of the ratios, or of our own figures; None where it was not measured."""
        figures = self.ratios if self.theirs else self.ours
        return None if self.not_measured or not figures else median(figures)

    @property
    def spread(self) -> tuple[float, float] | None:
        """The smallest and the largest of what :attr:`figure` is the median of."""
        figures = self.ratios if self.theirs else self.ours
        return None if self.not_measured or not figures else (min(figures), max(figures))

    @property
    def verdict(self) -> Verdict:
        """``aim`` where the aim is reached, ``met`` where the bound is. With no bound it is met if measured."""
        if self.figure is None:
            return "not measured"
        if self.aim is not None and self._reaches(self.figure, self.aim):
            return "aim"
        return "met" if self.bound is None or self._reaches(self.figure, self.bound) else "missed"

    def _reaches(self, figure: float, bound: float) -> bool:
        return figure >= bound if self.more_is_better else figure <= bound


Measure = Callable[[int], Sequence[Line]]
"""What each module of the table has as ``lines``: so many rounds of its lines. It blocks."""
