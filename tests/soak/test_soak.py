"""``make soak``, shortly: it runs, it counts, and it tells what is wrong."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

import pytest

from benchmarks.soak import Sample, Tally, judge, slope
from tests.packaging.workspace import ROOT

OPTIONS = argparse.Namespace(seconds=100.0, rate=2.0, least=0.9, bound=30.0)


def rising(by: float) -> list[Sample]:
    """100 s of memory that grows by so many MB a second."""
    return [Sample(float(second), 70.0 + by * second, 20, 9) for second in range(100)]


def test_a_short_run_loses_no_task_and_says_so() -> None:
    unbounded = ["--least=0", "--bound=1e9"]  # others use the machine, too
    command = [sys.executable, "-m", "benchmarks.soak", "--seconds=12", "--rate=40", "--warm-up=20", *unbounded]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"^tasks: .*'succeeded': \d+.*; 0 lost$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^jobs: [1-9]\d+ made, 0 tasks with two; of [1-9]\d* wanted 0 are missing$", done.stdout, re.MULTILINE
    )
    assert re.search(r"^calls of do: [1-9]\d+, of which 0 failed$", done.stdout, re.MULTILINE)


def test_the_slope_is_in_megabytes_an_hour() -> None:
    assert slope(rising(0.01)) == pytest.approx(36.0)


def test_a_run_in_which_all_is_well_succeeds() -> None:
    assert judge(Tally(rising(0.001), calls=150, dos=50, wanted={"a"}), [{"task": "a"}], OPTIONS, 0) == 0


@pytest.mark.parametrize(
    ("tally", "jobs", "code", "fault"),
    [
        (Tally(rising(0.01)), [], 0, "memory grew by 36.0 MB/h"),
        (Tally(lost=["soak-1: failed: no more polls"]), [], 0, "a task was lost: soak-1"),
        (Tally(wanted={"a"}), [], 0, "no job: a"),
        (Tally(), [{"task": "a"}, {"task": "a"}], 0, "two jobs: a"),
        (Tally(failed_dos=["UNAVAILABLE: no"]), [], 0, "a call failed: UNAVAILABLE"),
        (Tally(calls=70, dos=70), [], 0, "there were only 1 calls/s"),
        (Tally(), [], 1, "the server ended with 1"),
    ],
)
def test_what_must_not_be_fails_the_run_and_is_told(
    tally: Tally, jobs: list[dict[str, str]], code: int, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(tally, jobs, OPTIONS, code) == 1
    assert f"FAULT: {fault}" in capsys.readouterr().out
