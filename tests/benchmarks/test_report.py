"""The report of a run, from canned lines."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.line import Line
from benchmarks.report import Report, Times, number, times_as_good

FASTER = Line(
    name="GetTask, 256 outstanding",
    unit="calls/s",
    ours=(1_400.0, 1_500.0, 1_600.0),
    theirs=(10.0, 12.0, 16.0),
    beside="the other",
    bound=100.0,
    aim=150.0,
    notes=("The platform took 100.2 ms.",),
)
SMALLER = Line(
    name="memory at rest",
    unit="MB",
    ours=(60.0, 62.0, 61.0),
    shown=(120.0, 122.0, 124.0),
    beside="the other",
    bound=90.0,
    aim=65.0,
    more_is_better=False,
)
DEARER = Line(
    name="memory per call", unit="KB", ours=(20.0,), theirs=(10.0,), beside="raw", bound=1.5, more_is_better=False
)
ALONE = Line(name="time of a poll", unit="s", ours=(0.2,), bound=0.25, more_is_better=False)
MISSING = Line(name="two servers", unit="µs", bound=1.1, more_is_better=False, not_measured="there is one core")
FURTHER = Line(name="GetTask", unit="calls/s", ours=(220.0,), theirs=(100.0,), bound=1.0, aim=1.25, further_aim=2.0)
FAILED_ONCE = Line(
    name="CreateTask", unit="calls/s", ours=(10.0, 30.0, 40.0), theirs=(10.0, None, 10.0), beside="the other", bound=1.0
)
LINES = (FASTER, SMALLER, DEARER, ALONE, MISSING, FURTHER, FAILED_ONCE)
REPORT = Report(LINES, {"machine": "2 cores"})


def told(line: Line) -> str:
    """What the table says of a line, its name and notes left out."""
    rows = Report((line,), {}).as_text().splitlines()
    return " ".join(rows[rows.index(line.name) + 1].split())


def test_what_is_written_as_json_is_read_back() -> None:
    assert Report.from_json(REPORT.as_json()) == REPORT


def test_a_line_is_told_with_both_medians_the_ratios_and_the_verdict() -> None:
    assert told(FASTER) == ("1,500 calls/s 12 calls/s (the other) 125 (100 to 140) ≥ 100 times ≥ 150 times met")


def test_a_line_that_was_written_before_there_were_further_aims_has_none() -> None:
    lines = json.loads(Report((FASTER,), {}).as_json())
    del lines["lines"][0]["further_aim"]
    assert Report.from_json(json.dumps(lines)).lines == (FASTER,)


def test_a_further_aim_stands_beside_the_aim() -> None:
    assert told(FURTHER).endswith("≥ 1.25 times, then ≥ 2 times second aim reached")
    assert told(replace(FURTHER, ours=(130.0,))).endswith("≥ 1.25 times, then ≥ 2 times aim reached")


def test_of_how_many_rounds_a_figure_is_stands_beside_it_where_it_is_not_of_all() -> None:
    assert told(FAILED_ONCE) == "30 calls/s 10 calls/s (the other, 2 of 3 rounds) 2.50 (1 to 4) ≥ 1 times met"
    assert "122 MB (the other, 1 of 3 rounds)" in told(replace(SMALLER, shown=(122.0,)))


def test_what_failed_in_every_round_is_not_shown() -> None:
    never = replace(FAILED_ONCE, theirs=(None, None, None))
    assert told(never) == "30 calls/s ≥ 1 times not measured"
    assert times_as_good(never) is None
    assert times_as_good(replace(SMALLER, shown=(None, None, None))) is None


def test_a_bound_on_the_figure_itself_is_told_with_its_unit() -> None:
    assert told(SMALLER) == "61 MB 122 MB (the other) ≤ 90 MB ≤ 65 MB aim reached"


def test_a_line_over_its_bound_is_missed() -> None:
    assert told(DEARER).endswith("2 (2 to 2) ≤ 1.5 times missed")


def test_a_line_with_nothing_beside_it_has_no_ratio() -> None:
    assert told(ALONE) == "0.2 s ≤ 0.25 s met"


def test_what_was_not_measured_is_told_with_its_reason() -> None:
    assert told(MISSING).endswith("not measured")
    assert "Not measured: there is one core" in REPORT.as_text()


def test_the_notes_and_the_conditions_are_in_the_table() -> None:
    assert "The platform took 100.2 ms." in REPORT.as_text()
    assert REPORT.as_text().endswith("machine: 2 cores")


def test_a_quick_run_says_that_it_is_no_measurement() -> None:
    assert "A quick run" in Report(LINES, {}, quick=True).as_text()


def test_the_conditions_are_this_machine_s() -> None:
    report = Report.of(LINES, reference="the other 1.0", quick=False)
    assert {"date", "machine", "Python", "this service", "the reference"} <= report.conditions.keys()
    assert report.conditions["the reference"] == "the other 1.0"


@pytest.mark.parametrize(
    ("line", "times"),
    [
        (FASTER, (125.0, 100.0, 150.0, None)),
        (SMALLER, (2.0, pytest.approx(122 / 90), pytest.approx(122 / 65), None)),
        (DEARER, (0.5, pytest.approx(1 / 1.5), None, None)),
        (FURTHER, (2.2, 1.0, 1.25, 2.0)),
        (ALONE, None),
        (MISSING, None),
    ],
)
def test_more_times_as_good_is_better_whatever_the_unit(line: Line, times: Times | None) -> None:
    assert times_as_good(line) == times


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123"), (0, "0")],
)
def test_a_number_has_three_figures_that_count(value: float, text: str) -> None:
    assert number(value) == text
