"""The lines of a run that have something beside them, as bars: how many times as good this service is.

The SVG is written by hand, and is light or dark as its reader's machine is: https://www.w3.org/TR/SVG2/ and
https://drafts.csswg.org/mediaqueries-5/#prefers-color-scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from benchmarks.line import Line
from benchmarks.report import Report, Times, beside_of, figure, number, times_as_good

__all__ = ["plot"]

_WIDTH, _LEFT, _RIGHT = 940, 20, 150
_HEAD, _ROW, _FOOT = 64, 46, 56
_STYLE = """
  .page { fill: #ffffff; }
  text { font: 13px system-ui, sans-serif; fill: #24292f; stroke: #ffffff; stroke-width: 4px; paint-order: stroke; }
  .title { font-size: 16px; font-weight: 600; }
  .small { font-size: 11px; fill: #57606a; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
  .one { stroke: #57606a; stroke-width: 1.5; }
  .good { fill: #2da44e; }
  .poor { fill: #cf222e; }
  .bound { stroke: #24292f; stroke-width: 2; }
  .aim { fill: none; stroke: #24292f; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; }
    text { fill: #e6edf3; stroke: #0d1117; }
    .small { fill: #9198a1; }
    .grid { stroke: #3d444d; }
    .one { stroke: #9198a1; }
    .good { fill: #3fb950; }
    .poor { fill: #f85149; }
    .bound, .aim { stroke: #e6edf3; }
  }
"""


def plot(report: Report) -> str:
    """An SVG. Of a bar the left end is "as good as what stands beside it"; to the right is better."""
    rows = [(line, times) for line in report.lines if (times := times_as_good(line)) is not None]
    scale = _Scale(value for _, times in rows for value in times if value is not None)
    height = _HEAD + _ROW * len(rows) + _FOOT
    bottom = height - _FOOT
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>How many times as good this service is as what stands beside it</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{height}" rx="6"/>',
        f'<text x="{_LEFT}" y="26" class="title">How many times as good as what stands beside it</text>',
        *(
            f'<line x1="{scale.at(power):.1f}" y1="{_HEAD - 14}" x2="{scale.at(power):.1f}" y2="{bottom}"'
            f' class="{"one" if power == 1 else "grid"}"/>'
            f'<text x="{scale.at(power):.1f}" y="{bottom + 16}" text-anchor="middle" class="small">{power:g}</text>'
            for power in scale.powers
        ),
    ]
    for index, (line, times) in enumerate(rows):
        drawn += _bar(line, times, scale, _HEAD + index * _ROW)
    drawn += [*_legend(height - 16), "</svg>"]
    return "\n".join(drawn) + "\n"


class _Scale:
    """A logarithmic one, from the power of ten below all values and 1 to the one above them."""

    def __init__(self, values: Iterable[float]) -> None:
        known = [1.0, *values]
        self._first = math.floor(math.log10(min(known)) - 1e-9) if min(known) < 1 else 0
        self._last = max(math.ceil(math.log10(max(known)) - 1e-9), self._first + 1)

    @property
    def powers(self) -> list[float]:
        return [10.0**power for power in range(self._first, self._last + 1)]

    def at(self, value: float) -> float:
        """Where it is, from the left."""
        share = (math.log10(value) - self._first) / (self._last - self._first)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _bar(line: Line, times: Times, scale: _Scale, top: int) -> list[str]:
    good, bound, *aims = times
    begin, end = sorted((scale.at(1.0), scale.at(good)))
    kind = "good" if bound is None or good >= bound else "poor"
    beside = f"{figure(line.ours, line.unit)}; {beside_of(line)}"
    drawn = [
        f'<text x="{_LEFT}" y="{top + 8}">{escape(line.name)} <tspan class="small">{escape(beside)}</tspan></text>',
        f'<rect x="{begin:.1f}" y="{top + 15}" width="{max(end - begin, 1.0):.1f}" height="16" class="{kind}"/>',
        f'<text x="{_WIDTH - _RIGHT + 12}" y="{top + 28}">{number(good)} times</text>',
    ]
    if bound is not None:
        x = scale.at(bound)
        drawn.append(f'<line x1="{x:.1f}" y1="{top + 11}" x2="{x:.1f}" y2="{top + 35}" class="bound"/>')
    for aim in aims:
        if aim is None:
            continue
        x = scale.at(aim)
        drawn.append(f'<path d="M{x - 5:.1f} {top + 37} L{x:.1f} {top + 32} L{x + 5:.1f} {top + 37} Z" class="aim"/>')
    return drawn


def _legend(y: int) -> list[str]:
    return [
        f'<line x1="{_LEFT + 4}" y1="{y - 12}" x2="{_LEFT + 4}" y2="{y + 4}" class="bound"/>',
        f'<text x="{_LEFT + 14}" y="{y}" class="small">to be reached</text>',
        f'<path d="M{_LEFT + 110} {y} L{_LEFT + 115} {y - 6} L{_LEFT + 120} {y} Z" class="aim"/>',
        f'<text x="{_LEFT + 128}" y="{y}" class="small">aimed at</text>',
        f'<text x="{_LEFT + 210}" y="{y}" class="small">medians, on a logarithmic scale; right of 1 is better</text>',
    ]
