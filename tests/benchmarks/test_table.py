"""What `make bench` makes of its parts."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import pytest

from benchmarks.__main__ import MODULES, measured
from benchmarks.line import Line

LINE = Line(name="a part", unit="calls/s", ours=(1.0,))


def fails() -> Sequence[Line]:
    raise RuntimeError("the server ended with 1")


def test_the_lines_of_all_parts_are_in_order() -> None:
    other = Line(name="another", unit="s", ours=(2.0,))
    assert measured({"one": lambda: (LINE,), "two": lambda: (other, LINE)}) == ([LINE, other, LINE], False)


def test_a_part_that_fails_is_told_and_the_others_are_kept() -> None:
    lines, failed = measured({"one": fails, "two": lambda: (LINE,)})
    assert failed
    assert [line.verdict for line in lines] == ["not measured", "met"]
    assert lines[0].not_measured == "RuntimeError: the server ended with 1"


@pytest.mark.parametrize("name", MODULES)
def test_each_part_offers_lines(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").lines)
