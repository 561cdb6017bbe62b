"""The guide's page on scale is what the committed measurement says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.line import Line
from benchmarks.plot import plot
from benchmarks.report import Report
from connectors._settings import Settings
from connectors._settings.sources import variable_of
from docs.generate_benchmarks import CREATES, GETS, MEASURED, PAGE, PLOT, generated, tasks
from tests.docs.blocks import ROOT
from tests.docs.test_settings_page import TEXT as SETTINGS

TEXT = PAGE.read_text("utf-8")
REPORT = Report.from_json(MEASURED.read_text("utf-8"))


def test_its_tables_are_those_of_the_measurement() -> None:
    assert generated(TEXT, REPORT) == TEXT, "make docs"


def test_the_plot_is_that_of_the_measurement() -> None:
    assert PLOT.read_text("utf-8") == plot(REPORT), "make docs"


def test_a_table_that_is_out_of_date_is_written_anew() -> None:
    assert generated(TEXT.replace("| 10,000 |", "| 20,000 |"), REPORT) == TEXT


def test_what_it_shows_was_no_quick_run() -> None:
    assert not REPORT.quick


def test_every_flag_that_it_names_is_a_flag_with_the_default_that_it_says() -> None:
    for flag, default in re.findall(r"^\| `--([a-z-]+)` \| (\d+) \|", TEXT, re.MULTILINE):
        assert f"`{variable_of(flag.replace('-', '_'))}`" in SETTINGS
        assert Settings.model_fields[flag.replace("-", "_")].default == int(default)


def test_servers_are_half_busy_and_two_at_least() -> None:
    report = Report(
        (
            Line(name=GETS, unit="calls/s", ours=(1_000.0,)),
            Line(name=CREATES, unit="calls/s", ours=(500.0,)),
        ),
        {},
    )
    rows = [row.split(" | ") for row in tasks(report).splitlines()[2:]]
    # 100,000 tasks: 3,333 polls and 167 creates a second are 3.33 and 0.33 cores
    assert [row[5] for row in rows] == ["2", "2", "2", "8"]


def test_a_measurement_without_bigquery_is_no_base_for_the_table() -> None:
    with pytest.raises(LookupError, match="no figures"):
        tasks(Report((), {}))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the script needs of one, with the committed measurement as its last run."""
    for name in ("benchmarks", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "bench.json").write_text(REPORT.as_json(), "utf-8")
    return tmp_path


def script(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, checkout / "docs" / "generate_benchmarks.py", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=100)


def test_a_run_that_is_taken_is_what_the_page_says_from_then_on(checkout: Path) -> None:
    (checkout / "docs" / "benchmarks.json").unlink()
    done = script(checkout, "--take")
    assert (done.returncode, done.stderr) == (0, "")
    assert Report.from_json((checkout / "docs" / "benchmarks.json").read_text("utf-8")) == REPORT
    assert script(checkout, "--check").returncode == 0


def test_a_page_that_says_something_else_is_found(checkout: Path) -> None:
    page = checkout / "docs" / "operate" / "scale.md"
    page.write_text(TEXT.replace("| 10,000 |", "| 20,000 |"), "utf-8")
    done = script(checkout, "--check")
    assert done.returncode == 1
    assert "docs/operate/scale.md is not what docs/benchmarks.json says" in done.stderr


def test_a_quick_run_is_not_taken(checkout: Path) -> None:
    quick = replace(REPORT, quick=True)
    (checkout / "build" / "bench.json").write_text(quick.as_json(), "utf-8")
    done = script(checkout, "--take")
    assert done.returncode == 1
    assert "no measurement" in done.stderr
