"""``make chaos``, second half: this service and flytekit's connector service through the same scenarios, side by side.

Both run as two server processes on this machine, around a fake platform. The first time, flytekit is installed into an
environment of its own. It prints a table in Markdown and judges nothing: the exit status is not 0 only where something
went wrong. Its progress goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.reference.scenarios import SCENARIOS, Counts
from benchmarks.reference.services import REFERENCE_VERSION, MakeArena, install_reference, reference, this_service
from demo.emulators import EmulatorError

_REFERENCE = REFERENCE_VERSION.replace("==", " ")
_SERVICES: Mapping[str, MakeArena] = {"this service": this_service, _REFERENCE: reference}
_HEAD = (
    "| what happens | service | tasks failed | jobs made / wanted | two at once | orphans |",
    "|---|---|---|---|---|---|",
)


def main() -> None:
    """Run it."""
    options = _options()
    # the platform would tell of every request that a killed server did not finish
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    try:
        install_reference()
    except EmulatorError as error:
        sys.exit(f"benchmarks.reference: {error}")
    asyncio.run(_compare(options))


def _options() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    parser.add_argument("--only", choices=names, action="append", help="a scenario; may be repeated (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="how large they are (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn (default: 1)")
    return parser.parse_args()


async def _compare(options: argparse.Namespace) -> None:
    began = time.monotonic()
    print("\n".join(_HEAD))
    for scenario in SCENARIOS:
        if options.only and scenario.name not in options.only:
            continue
        found: dict[str, dict[str, Counts]] = {}
        for service, make in _SERVICES.items():
            with tempfile.TemporaryDirectory(prefix="connectors-chaos-") as folder:
                found[service], seconds = await scenario.run(make, Path(folder), options.seed, options.scale)
            print(f"{scenario.name}: {service}, {seconds:.0f} s", file=sys.stderr)
        for name in next(iter(found.values())):
            for number, (service, rows) in enumerate(found.items()):
                print(_row("" if number else name, service, rows[name]), flush=True)
    took = time.monotonic() - began
    versions = [
        f"Python {platform.python_version()}",
        f"connectors-service {version('connectors-service')}",
        _REFERENCE,
    ]
    print(f"\n{', '.join(versions)}; seed {options.seed}, scale {options.scale:g}; {took:.0f} s")


def _row(name: str, service: str, counts: Counts) -> str:
    cells = (
        name,
        service,
        f"{counts.failed} of {counts.tasks}",
        f"{counts.jobs} / {counts.tasks}",
        counts.doubled,
        counts.orphans,
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
