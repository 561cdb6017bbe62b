"""The plot of a run, as the SVG that it is."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks.line import Line
from benchmarks.plot import plot
from benchmarks.report import Report
from tests.benchmarks.test_report import ALONE, DEARER, FASTER, FURTHER, LINES, MISSING, REPORT, SMALLER

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*lines: Line) -> ElementTree.Element:
    return ElementTree.fromstring(plot(Report(lines, {})))  # noqa: S314 - it is our own


def of_class(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if each.get("class") == kind]


def test_a_line_with_something_beside_it_has_a_bar_and_no_other_has() -> None:
    root = drawn(*LINES)
    assert len(of_class(root, "good")) + len(of_class(root, "poor")) == 5
    texts = "".join(root.itertext())
    assert all(line.name in texts for line in (FASTER, SMALLER, DEARER))
    assert not any(line.name in texts for line in (ALONE, MISSING))


def test_a_line_that_misses_its_bound_has_another_colour() -> None:
    assert len(of_class(drawn(FASTER), "good")) == len(of_class(drawn(DEARER), "poor")) == 1


def test_a_bar_that_just_reaches_its_bound_ends_at_the_bound_s_mark() -> None:
    root = drawn(replace(FASTER, bound=125.0))
    [bar], [mark] = of_class(root, "good"), of_class(root, "bound")[:1]
    assert float(bar.attrib["x"]) + float(bar.attrib["width"]) == pytest.approx(float(mark.attrib["x1"]), abs=0.2)


def test_a_further_aim_has_a_mark_of_its_own() -> None:
    of_legend = 1
    assert len(of_class(drawn(FASTER), "aim")) == 1 + of_legend
    assert len(of_class(drawn(FURTHER), "aim")) == 2 + of_legend


def test_what_is_worse_than_what_stands_beside_it_lies_left_of_1() -> None:
    root = drawn(DEARER)
    [bar], [one] = of_class(root, "poor"), of_class(root, "one")
    assert float(bar.attrib["x"]) + float(bar.attrib["width"]) == pytest.approx(float(one.attrib["x1"]), abs=0.2)


def test_everything_lies_within_the_picture() -> None:
    root = drawn(*LINES)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for each in root.iter(f"{SVG}rect"):
        right = float(each.get("x", 0)) + float(each.attrib["width"])
        assert 0 <= right <= width
        assert float(each.get("y", 0)) + float(each.attrib["height"]) <= height


def test_it_has_colours_of_its_own_for_a_dark_page() -> None:
    assert "prefers-color-scheme: dark" in plot(REPORT)


def test_a_report_without_such_lines_is_drawn_too() -> None:
    assert of_class(drawn(ALONE), "one")
