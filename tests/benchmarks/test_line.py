"""A line of the table: what its bound is of, and whether it is reached."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.line import Line


def line(**parts: Any) -> Line:
    return Line(name="a line", unit="calls/s", **parts)


def test_beside_something_the_figure_is_the_median_of_the_ratios_of_each_round() -> None:
    measured = line(ours=(100.0, 300.0, 120.0), theirs=(50.0, 100.0, 100.0))
    assert measured.ratios == (2.0, 3.0, 1.2)
    assert measured.figure == 2.0
    assert measured.spread == (1.2, 3.0)


def test_a_round_that_failed_on_one_side_leaves_the_pairs_of_the_others() -> None:
    measured = line(ours=(100.0, 300.0, None, 120.0), theirs=(50.0, None, 100.0, 100.0))
    assert measured.ratios == (2.0, 1.2)


def test_figures_of_which_nobody_knows_the_round_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rounds of ours, 2 of theirs"):
        line(ours=(100.0, 300.0, 120.0), theirs=(50.0, 100.0))


def test_a_line_whose_every_round_failed_is_not_measured() -> None:
    assert line(ours=(100.0,), theirs=(None,), bound=1.0).verdict == "not measured"
    assert line(ours=(None,), bound=1.0).verdict == "not measured"


def test_the_median_of_our_own_is_of_the_rounds_that_did_not_fail() -> None:
    assert line(ours=(3.0, None, 1.0)).figure == 2.0


def test_alone_the_figure_is_the_median_of_our_own() -> None:
    assert line(ours=(3.0, 1.0, 2.0)).figure == 2.0


@pytest.mark.parametrize(("ours", "verdict"), [(99.0, "missed"), (100.0, "met"), (149.0, "met"), (150.0, "aim")])
def test_more_is_better_by_default(ours: float, verdict: str) -> None:
    assert line(ours=(ours,), bound=100.0, aim=150.0).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(124.0, "met"), (199.0, "aim"), (200.0, "further aim")])
def test_a_further_aim_is_reached_after_the_aim(ours: float, verdict: str) -> None:
    assert line(ours=(ours,), bound=100.0, aim=125.0, further_aim=200.0).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(91.0, "missed"), (90.0, "met"), (65.0, "aim")])
def test_less_is_better_where_the_line_says_so(ours: float, verdict: str) -> None:
    assert line(ours=(ours,), bound=90.0, aim=65.0, more_is_better=False).verdict == verdict


def test_the_bound_is_of_the_ratio_where_something_stands_beside() -> None:
    assert line(ours=(110.0,), theirs=(100.0,), bound=1.2, more_is_better=False).verdict == "met"
    assert line(ours=(130.0,), theirs=(100.0,), bound=1.2, more_is_better=False).verdict == "missed"


def test_a_line_that_was_not_measured_is_never_met_whatever_figures_it_has() -> None:
    measured = line(ours=(1e9,), bound=1.0, not_measured="the reference did not start")
    assert (measured.figure, measured.spread, measured.verdict) == (None, None, "not measured")


def test_a_line_with_no_figures_is_not_measured() -> None:
    assert line(bound=1.0).verdict == "not measured"
