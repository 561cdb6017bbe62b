"""Writes what operate/scale.md says of the measurements, and the plot beside it, from docs/benchmarks.json.

    python docs/generate_benchmarks.py            write them anew
    python docs/generate_benchmarks.py --take     first put build/bench.json, of the last `make bench`, in its place
    python docs/generate_benchmarks.py --check    compare them; exit 1 and say so where they differ

The page's own sentences stand between the tables and are kept. A table stands between ``<!-- measured -->``, or another
name of ``TABLES``, and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # it is run as a file, and `benchmarks` is no installed package

from benchmarks.line import Line, known  # noqa: E402
from benchmarks.plot import plot  # noqa: E402
from benchmarks.report import VERDICTS, Report, aim_of, beside_of, bound_of, figure, number, spread_of  # noqa: E402

__all__ = ["MEASURED", "PAGE", "PLOT", "generated", "tasks"]

PAGE = ROOT / "docs" / "operate" / "scale.md"
MEASURED = ROOT / "docs" / "benchmarks.json"
PLOT = ROOT / "docs" / "benchmarks.svg"
LAST_RUN = ROOT / "build" / "bench.json"
_TABLE = re.compile(r"^(?P<begin><!-- (?P<name>[a-z]+) -->)\n.*?^(?P<end><!-- end -->)$", re.MULTILINE | re.DOTALL)

TASKS = (300, 1_000, 10_000, 100_000)
"""At once."""
POLLED_EVERY = 30.0
"""Seconds between two polls of a task, as Flyte sets them."""
LASTS = 600.0
"""Seconds that a task runs, for the number of creates."""
PLATFORM = 0.1
"""Seconds that the platform takes for a request: as in the measurement."""
BUSY = 0.5
"""The share of its core that a server is to use: the rest is for bursts, and for the load of a server that is away."""
GETS, CREATES = "BigQuery GetTask, 256 outstanding", "BigQuery CreateTask, 256 outstanding, SQLite"


def main() -> int:
    """Runs the command line.

    :returns: 0, or 1 where ``--check`` found a difference or ``--take`` nothing to take.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--take", action="store_true", help=f"take {LAST_RUN.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.take:
        if Report.from_json(LAST_RUN.read_text("utf-8")).quick:
            sys.stderr.write(f"{LAST_RUN.relative_to(ROOT)} is of a quick run, and no measurement: make bench\n")
            return 1
        shutil.copyfile(LAST_RUN, MEASURED)
    report = Report.from_json(MEASURED.read_text("utf-8"))
    page = PAGE.read_text("utf-8")
    for path, written, new in ((PAGE, page, generated(page, report)), (PLOT, _text_of(PLOT), plot(report))):
        if options.check and written != new:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what {MEASURED.relative_to(ROOT)} says: make docs\n")
            return 1
        path.write_text(new, "utf-8")
    return 0


def generated(page: str, report: Report) -> str:
    """The page, with its tables as the report has them."""
    return _TABLE.sub(lambda found: f"{found['begin']}\n\n{TABLES[found['name']](report)}\n{found['end']}", page)


def _measured(report: Report) -> str:
    head = ("what", "this service", "beside it", "times (lowest to highest)", "to reach", "aim", "")
    rows = (
        (
            line.name,
            figure(line.ours, line.unit),
            beside_of(line),
            spread_of(line),
            bound_of(line, line.bound),
            aim_of(line),
            f"not measured: {line.not_measured}" if line.not_measured else VERDICTS[line.verdict],
        )
        for line in report.lines
    )
    notes = "".join(f"- {line.name}: {' '.join(line.notes)}\n" for line in report.lines if line.notes)
    conditions = "; ".join(f"{name}: {value}" for name, value in report.conditions.items())
    return f"{_table(head, rows)}\nMedians of alternating rounds. {conditions}.\n\n{notes}"


def tasks(report: Report) -> str:
    """What so many tasks need of servers like the one that was measured.

    :raises LookupError: the report has no figures of BigQuery's calls.
    """
    gets, creates = (median(known(_line(report, name).ours)) for name in (GETS, CREATES))
    head = (
        "tasks at once",
        "polls a second",
        "creates a second",
        "requests outstanding at the platform",
        "cores kept busy",
        "servers, of a core each",
        "store: reads a second",
        "store: writes a second",
    )
    rows = []
    for number_of in TASKS:
        polls, made = number_of / POLLED_EVERY, number_of / LASTS
        cores = polls / gets + made / creates
        rows.append(
            (
                f"{number_of:,}",
                number(polls),
                number(made),
                f"{math.ceil((polls + made) * PLATFORM):,}",
                number(cores),
                f"{max(2, math.ceil(cores / BUSY)):,}",
                number(polls),
                number(made * 4),
            )
        )
    return _table(head, rows)


def _line(report: Report, name: str) -> Line:
    for line in report.lines:
        if line.name == name and known(line.ours):
            return line
    raise LookupError(f"the report has no figures for {name!r}")


TABLES: Mapping[str, Callable[[Report], str]] = {"measured": _measured, "tasks": tasks}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * (lines[0].count(" | ") + 1) + "|", *lines[1:]]) + "\n"


def _text_of(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
