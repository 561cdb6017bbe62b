"""A terminal with a program in it, as a person has one."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CTRL_C", "Terminal", "interrupted_while_running", "on_terminal"]

CTRL_C = b"\x03"


@dataclass
class Terminal:
    """A terminal with the script in it."""

    process: asyncio.subprocess.Process
    keyboard: int
    shown: bytearray = field(default_factory=bytearray)

    def type(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in self.text:
                assert self.process.returncode is None or await self._has_more(), self.text
                await asyncio.sleep(0.01)

    async def _has_more(self) -> bool:
        """Whether what it showed last may still arrive."""
        before = len(self.shown)
        await asyncio.sleep(0.2)
        return len(self.shown) > before

    @property
    def text(self) -> str:
        return self.shown.decode("utf-8", "replace")

    async def exit_code(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()


@asynccontextmanager
async def on_terminal(
    script: str, *arguments: str, variables: Mapping[str, str] | None = None, python: str = sys.executable
) -> AsyncIterator[Terminal]:
    """Run Python code as a program of its own, with a terminal of its own."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _IN_CHARGE, python, "-c", script, *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, **(variables or {})},
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            terminal.shown += os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        yield terminal
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        os.close(ours)


_IN_CHARGE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes the terminal the session's own, so that Ctrl-C in it is a SIGINT."""


_RUN = """
import sys
from connectors.local import RunOptions

def say(progress):
    print(progress.stage, progress.phase.name, progress.meta.decode(), flush=True)

local_run = RunOptions(poll_interval=0.1, on_progress=say)
{make}
try:
    task({inputs})
except KeyboardInterrupt:
    sys.exit(130)
"""


async def interrupted_while_running(make: str, inputs: str = "", **variables: str) -> Mapping[str, Any]:
    """Type Ctrl-C while a task runs, wait until its job is deleted, and return the job's meta.

    :param make: code that makes ``task``, with ``local_run``. :param inputs: of the call, as code.
    """
    async with on_terminal(_RUN.format(make=make, inputs=inputs), variables=variables) as terminal:
        await terminal.shows("running RUNNING")
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130, terminal.text
        await terminal.shows("deleted RUNNING")
    found = re.search(r"deleted RUNNING (\{.*\})", terminal.text)
    assert found is not None, terminal.text
    meta: Mapping[str, Any] = json.loads(found[1])
    return meta
