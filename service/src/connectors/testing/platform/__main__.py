"""``python -m connectors.testing.platform``: the platform as a process of its own. It says where it is, as one line."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from connectors.testing.platform import FakePlatform


async def _serve(platform: FakePlatform) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with platform:
        sys.stdout.write(f"{platform.url}\n")
        sys.stdout.flush()
        await ended.wait()


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m connectors.testing.platform", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token", default="", help="what callers must send as a bearer token")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' draws")
    parser.add_argument("--cancel-takes", type=float, default=0.0, help="seconds for which a cancelled job runs on")
    given = parser.parse_args()
    platform = FakePlatform(
        host=given.host, port=given.port, token=given.token, seed=given.seed, cancel_takes=given.cancel_takes
    )
    try:
        asyncio.run(_serve(platform))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        sys.exit(f"the platform cannot be served at {given.host}:{given.port}: {reason}; name another by --port")


if __name__ == "__main__":
    _main()
