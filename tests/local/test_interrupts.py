"""Ctrl-C, as a person types it: a script on a terminal of its own, and a job on the platform."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from connectors.testing.platform import FakePlatform, Fault, JobState
from tests.local.conftest import states, until

pytestmark = pytest.mark.anyio

SCRIPT = """
import asyncio, sys
from connectors.local import ConnectorTask, InProcess, RunOptions
from connectors.testing.platform import NativeConnector, PlatformSettings

connector = NativeConnector(PlatformSettings(url=sys.argv[1], timeout=60))
options = RunOptions(poll_interval=0.05, via=lambda: InProcess(connectors=[connector]))
task = ConnectorTask("slow", "platform_native", config={"duration": 60}, local_run=options)

async def main():
    await task.run()

try:
    task() if sys.argv[2] == "called" else asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""
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
            while text.encode() not in self.shown:  # noqa: ASYNC110 - the terminal tells nobody
                await asyncio.sleep(0.01)

    async def exit_code(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()


Start = Callable[[str], AbstractAsyncContextManager[Terminal]]


@pytest.fixture
def on_terminal(platform: FakePlatform) -> Start:
    @asynccontextmanager
    async def start(form: str) -> AsyncIterator[Terminal]:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _IN_CHARGE, sys.executable, "-c", SCRIPT, platform.url, form),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
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

    return start


_IN_CHARGE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes the terminal the session's own, so that Ctrl-C in it is a SIGINT."""

forms = pytest.mark.parametrize("form", ["called", "awaited"])


@forms
async def test_ctrl_c_deletes_the_job_and_waits_for_it(on_terminal: Start, platform: FakePlatform, form: str) -> None:
    platform.set_fault(Fault("slow", ("cancel",), delay=0.3))
    async with on_terminal(form) as terminal:
        await terminal.shows("RUNNING")
        terminal.type(CTRL_C)
        await terminal.shows("interrupted")
        assert await terminal.exit_code() == 130
        assert b"deleted" in terminal.shown
    assert states(platform) == [JobState.CANCELLED]


@forms
async def test_ctrl_c_during_the_create_deletes_what_comes_of_it(
    on_terminal: Start, platform: FakePlatform, form: str
) -> None:
    platform.set_fault(Fault("slow", ("submit",), delay=1.0))
    async with on_terminal(form) as terminal:
        await until(platform, lambda _: platform.requests["submit"] > 0)
        assert platform.jobs() == ()
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130
    assert states(platform) == [JobState.CANCELLED]


@forms
async def test_a_second_ctrl_c_leaves_and_says_what_finds_the_job(
    on_terminal: Start, platform: FakePlatform, form: str
) -> None:
    platform.set_fault(Fault("hang", ("cancel",), seconds=60))
    async with on_terminal(form) as terminal:
        await terminal.shows("RUNNING")
        terminal.type(CTRL_C)
        await until(platform, lambda _: platform.requests["cancel"] > 0)
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130
        await terminal.shows(platform.jobs()[0].id)
    assert states(platform) == [JobState.RUNNING]
    platform.clear_faults()
