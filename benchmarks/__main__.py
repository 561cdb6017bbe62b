"""``make bench``: the whole table, side by side with the reference and with raw grpclib; then what the stores add.

The table, the plot and everything behind them go to ``build/``; ``docs/generate_benchmarks.py --take`` puts them into
the guide. It judges nothing: the exit status is not 0 only where something went wrong.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.line import Line, Measure
from benchmarks.plot import plot
from benchmarks.reference.server import REFERENCE
from benchmarks.report import Report

__all__ = ["MODULES", "measured"]

MODULES = {"bigquery": 3, "do_nothing": 5, "two_servers": 4, "startup": 7, "outstanding": 3, "saturation": 3}
"""What measures the table's lines, in their order, and with how many rounds."""
BUILD = Path(__file__).parents[1] / "build"


def main() -> None:
    """Run it."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the servers that are measured would go on
    parts = {name: _part(name, quick=options.quick) for name in options.only or MODULES}
    lines, failed = measured(parts)
    report = Report.of(lines, reference=REFERENCE, quick=options.quick)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(report.as_json(), "utf-8")
    (BUILD / "benchmarks.svg").write_text(plot(report), "utf-8")
    print(report.as_text())
    print(f"Written: {BUILD.name}/bench.json, {BUILD.name}/benchmarks.svg\n", flush=True)
    if not options.only:
        short = ["--rounds=2", "--records=1000"] if options.quick else []
        failed |= subprocess.run([sys.executable, "-m", "benchmarks.stores", *short], check=False).returncode != 0
    sys.exit(1 if failed else 0)


def measured(parts: Mapping[str, Callable[[], Sequence[Line]]]) -> tuple[list[Line], bool]:
    """The lines of all parts, and whether any failed: one that does is told as a line that was not measured, since the
    others are worth having.
    """
    lines: list[Line] = []
    failed = False
    for name, measure in parts.items():
        began = time.monotonic()
        try:
            lines += measure()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            lines.append(Line(name=name, unit="", not_measured=f"{type(error).__name__}: {error}"))
            failed = True
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return lines, failed


def _part(name: str, *, quick: bool) -> Callable[[], Sequence[Line]]:
    measure: Measure = importlib.import_module(f"benchmarks.{name}").lines
    return partial(measure, 1 if quick else MODULES[name])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each: to try whether it works")
    parser.add_argument("--only", choices=MODULES, action="append", help="one part of the table; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    main()
