"""``make demo``: a real query through both of Flyte's protocols, on this machine alone.

It starts ``connectors serve`` with its embedded store and a BigQuery emulator, runs the query through real gRPC, and
ends both, whatever happens.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the demo is a folder of the checkout, not a package


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--port", type=_port, default=0, help="of gRPC; by default a free one")
    parser.add_argument("--metrics-port", type=_port, default=0, help="by default a free one")
    parser.add_argument("--svg", type=Path, metavar="PATH", help="write what was printed as a picture, too")
    options = parser.parse_args()
    if importlib.util.find_spec("connectors") is None:
        print("demo: connectors is not installed in this Python; `make demo` installs it first", file=sys.stderr)
        return 1
    from demo.story import tell  # noqa: PLC0415 - it needs what was just looked for

    return tell(port=options.port, metrics_port=options.metrics_port, picture=options.svg)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
