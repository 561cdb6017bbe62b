"""The table of a run: for the terminal, as JSON, and back from JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.line import Line, Verdict, known

__all__ = [
    "VERDICTS",
    "Report",
    "Times",
    "aim_of",
    "beside_of",
    "bound_of",
    "figure",
    "number",
    "spread_of",
    "times_as_good",
]

VERDICTS: Mapping[Verdict, str] = {
    "further aim": "second aim reached",
    "aim": "aim reached",
    "met": "met",
    "missed": "missed",
    "not measured": "not measured",
}
Times = tuple[float, float | None, float | None, float | None]
"""As good as what stands beside it: this service, what is to be reached, the aim, and the further one; above 1 is
better."""
_WIDTH = 110


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    lines: tuple[Line, ...]
    conditions: Mapping[str, str]
    """What it was measured on, by name."""
    quick: bool = False
    """It only tried whether everything works: its figures are worth little."""

    @classmethod
    def of(cls, lines: Iterable[Line], *, reference: str, quick: bool) -> Self:
        """A report of this machine, now."""
        conditions = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{len(os.sched_getaffinity(0))} cores, {_processor()}",
            "Python": platform.python_version(),
            "this service": f"connectors-service {version('connectors-service')}",
            "the reference": reference,
            "load of the machine at the end": f"{os.getloadavg()[1]:.1f}",
        }
        return cls(tuple(lines), conditions, quick)

    def as_json(self) -> str:
        """Everything, with what follows from it."""
        lines = [
            {**asdict(line), "figure": line.figure, "spread": line.spread, "verdict": line.verdict}
            for line in self.lines
        ]
        whole = {"conditions": self.conditions, "quick": self.quick, "lines": lines}
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :meth:`as_json` wrote. :raises KeyError, TypeError, ValueError: it did not."""
        whole = json.loads(text)
        return cls(tuple(map(_line, whole["lines"])), whole["conditions"], whole["quick"])

    def as_text(self) -> str:
        """The table, for a terminal."""
        cells = [_cells(line) for line in self.lines]
        head = ("this service", "beside it", "ratio (lowest to highest)", "to reach", "aim", "")
        widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
        told = [_row(head, widths)]
        for line, row in zip(self.lines, cells, strict=True):
            told += [line.name, _row(row, widths)]
            missing = (f"Not measured: {line.not_measured}",) if line.not_measured else ()
            told += [f"      {each}" for note in (*missing, *line.notes) for each in _wrapped(note)]
        told.append("; ".join(f"{name}: {value}" for name, value in self.conditions.items()))
        if self.quick:
            told.append("A quick run: it tells that everything works, and no figures to go by.")
        return "\n".join(told)


def number(value: float) -> str:
    """With three figures that count, and none behind the point of a whole one."""
    if value == round(value):
        return f"{value:,.0f}"
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3g}"


def figure(values: Iterable[float | None], unit: str) -> str:
    """The median of those that are known, with its unit; "" of none."""
    figures = known(values)
    return f"{number(median(figures))} {unit}" if figures else ""


def beside_of(line: Line) -> str:
    """The median of what stands beside it, its name, and of how many rounds it is where it is not of all; "" where
    nothing does.
    """
    values = line.theirs or line.shown
    beside, rounds = figure(values, line.unit), len(known(values))
    of_rounds = f"{rounds} of {len(line.ours)} rounds" if rounds < len(line.ours) else ""
    told = ", ".join(filter(None, (line.beside, of_rounds)))
    return f"{beside} ({told})" if beside and told else beside


def spread_of(line: Line) -> str:
    """The median of the ratios, with the lowest and the highest; "" where the bound is not of a ratio."""
    ratios = line.ratios
    return f"{number(median(ratios))} ({number(min(ratios))} to {number(max(ratios))})" if ratios else ""


def bound_of(line: Line, bound: float | None) -> str:
    """What is to be reached, in words: of the ratio, or of the figure with its unit; "" where there is none."""
    if bound is None:
        return ""
    unit = "" if line.not_measured else " times" if line.theirs else f" {line.unit}"
    return f"{'≥' if line.more_is_better else '≤'} {bound:g}{unit}"


def aim_of(line: Line) -> str:
    """The aim, and the further one; "" where there is none."""
    return ", then ".join(filter(None, (bound_of(line, line.aim), bound_of(line, line.further_aim))))


def times_as_good(line: Line) -> Times | None:
    """How many times as good as what stands beside it; None where nothing does, or nothing was measured."""
    shown = known(line.shown)
    if line.figure is None or not (line.theirs or shown):
        return None
    beside = 1.0 if line.theirs else median(shown)

    def good(value: float) -> float:
        return value / beside if line.more_is_better else beside / value

    bound, aim, further = (None if each is None else good(each) for each in (line.bound, line.aim, line.further_aim))
    return good(line.figure), bound, aim, further


def _cells(line: Line) -> tuple[str, ...]:
    return (
        figure(line.ours, line.unit),
        beside_of(line),
        spread_of(line),
        bound_of(line, line.bound),
        aim_of(line),
        VERDICTS[line.verdict],
    )


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"  {'  '.join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))}".rstrip()


def _wrapped(text: str) -> Iterable[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    if line:
        yield line


def _line(stored: Mapping[str, Any]) -> Line:
    known: dict[str, Any] = {}
    for each in fields(Line):
        if each.name in stored:
            value = stored[each.name]
            known[each.name] = tuple(value) if isinstance(value, list) else value
    return Line(**known)


def _processor() -> str:
    """https://man7.org/linux/man-pages/man5/proc_cpuinfo.5.html."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()
