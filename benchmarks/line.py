"""A line of the benchmark's table: what was measured of this service and beside it, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

__all__ = ["Figures", "Line", "Measure", "Verdict", "known"]

Verdict = Literal["further aim", "aim", "met", "missed", "not measured"]
Figures = tuple[float | None, ...]
"""One a round; None where that round failed."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line. Rounds alternate between ours and theirs: figure *n* of both was measured one after the other.

    :raises ValueError: there are not as many of theirs as of ours.
    """

    name: str
    """What is measured, for a person."""
    unit: str
    """Of the figures: ``calls/s``, ``ms``, ``MB`` …"""
    ours: Figures = ()
    """This service's, one a round."""
    theirs: Figures = ()
    """The same of what it is compared with; empty where the bound is on our figure itself."""
    shown: Figures = ()
    """The same of what stands beside it where the bound is on our figure itself: shown, and not judged by. It may be of
    fewer rounds."""
    beside: str = ""
    """What it is compared with: ``reference``, ``raw grpclib``, ``one server`` …"""
    bound: float | None = None
    """What is to be reached: of the ratio ours/theirs where there is something beside it, else of our median."""
    aim: float | None = None
    """What is aimed at, of the same figure."""
    further_aim: float | None = None
    """What is aimed at once that is reached."""
    more_is_better: bool = True
    """False of times and memory: the bound is then the most that it may be."""
    not_measured: str = ""
    """Why there are no figures."""
    notes: tuple[str, ...] = ()
    """Sentences for the foot of the table: what stood beside the figure, and how far to trust it."""

    def __post_init__(self) -> None:
        if self.theirs and len(self.theirs) != len(self.ours):
            raise ValueError(f"{self.name}: {len(self.ours)} rounds of ours, {len(self.theirs)} of theirs")

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours to theirs, of each round in which both were measured; empty where nothing stands beside it."""
        pairs = zip(self.ours, self.theirs, strict=True) if self.theirs else ()
        return tuple(mine / other for mine, other in pairs if mine is not None and other)

    @property
    def figure(self) -> float | None:
        """What the bound is of: the median of the ratios, or of our own figures; None where it was not measured."""
        return median(self._figures) if self._figures else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The smallest and the largest of what :attr:`figure` is the median of."""
        return (min(self._figures), max(self._figures)) if self._figures else None

    @property
    def _figures(self) -> tuple[float, ...]:
        if self.not_measured:
            return ()
        return self.ratios if self.theirs else known(self.ours)

    @property
    def verdict(self) -> Verdict:
        """``further aim`` or ``aim`` where that is reached, ``met`` where the bound is. With no bound it is met if
        measured.
        """
        if self.figure is None:
            return "not measured"
        if self.further_aim is not None and self._reaches(self.figure, self.further_aim):
            return "further aim"
        if self.aim is not None and self._reaches(self.figure, self.aim):
            return "aim"
        return "met" if self.bound is None or self._reaches(self.figure, self.bound) else "missed"

    def _reaches(self, figure: float, bound: float) -> bool:
        return figure >= bound if self.more_is_better else figure <= bound


def known(figures: Iterable[float | None]) -> tuple[float, ...]:
    """Those of the rounds that did not fail."""
    return tuple(each for each in figures if each is not None)


Measure = Callable[[int], Sequence[Line]]
"""What each module of the table has as ``lines``: so many rounds of its lines. It blocks."""
