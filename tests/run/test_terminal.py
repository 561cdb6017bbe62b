"""``connectors run`` on a terminal: a real one, with a real Ctrl-C."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.testing.platform import FakePlatform, Fault, JobState
from tests.run.conftest import Command, WriteTask
from tests.run.waiting import until

pytestmark = pytest.mark.anyio

CTRL_C = b"\x03"
_ROWS, _COLUMNS = 24, 120
# a terminal sends Ctrl-C to those alone whose controlling terminal it is
_TAKE_OVER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A terminal whose foreground process is a command."""

    def __init__(self, command: Command, *arguments: str | Path, term: str = "xterm-256color") -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        variables = {name: value for name, value in command.variables.items() if name not in {"COLUMNS", "NO_COLOR"}}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_OVER, command.path, *arguments],
            cwd=command.folder,
            env=variables | {"TERM": term},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = ""
        """All that was ever written, with the commands to the terminal."""

    def read(self) -> None:
        try:
            self.screen += os.read(self._ours, 65_536).decode(errors="replace")
        except OSError:  # the command has closed its side
            asyncio.get_running_loop().remove_reader(self._ours)

    @property
    def text(self) -> str:
        """Without the commands."""
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\]8;[^\x1b]*\x1b\\)", "", self.screen)

    def type(self, data: bytes) -> None:
        os.write(self._ours, data)

    async def ended(self) -> tuple[int, str]:
        """The exit code and the standard output."""
        await until(lambda: self._process.poll() is not None)
        assert self._process.stdout is not None
        return self._process.returncode, self._process.stdout.read().decode()

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[Terminal]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._ours, self.read)
        try:
            yield self
        finally:
            loop.remove_reader(self._ours)
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            os.close(self._ours)


async def test_one_line_lives_while_the_task_runs_and_the_end_stays(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    task = write_task(custom={"duration": None})
    async with Terminal(command, "run", task, "--poll-interval=0.05").shown() as terminal:
        await until(lambda: "platform_native  RUNNING  the job is RUNNING" in terminal.text)
        seen = terminal.text
        await until(lambda: len(set(re.findall(r"\d+\.\d s", terminal.text))) >= 4)
        platform.end(platform.jobs()[0].id)
        code, out = await terminal.ended()
        await until(lambda: "SUCCEEDED  the job is SUCCEEDED" in terminal.text)
    assert (code, out) == (0, f"o0: {platform.jobs()[0].id}\n")
    assert "\x1b[2K" in terminal.screen  # the line was wiped, and drawn again
    assert "\n" not in seen.strip()


async def test_the_live_line_says_why_while_the_platform_is_dead(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    task = write_task(custom={"duration": None})
    async with Terminal(command, "run", task, "--poll-interval=0.05").shown() as terminal:
        await until(lambda: "platform_native  RUNNING  the job is RUNNING" in terminal.text)
        platform.set_fault(Fault("answer", ("get",)))
        await until(lambda: "RUNNING  the job cannot be asked for: the platform answered HTTP 503" in terminal.text)
        platform.clear_faults()
        shown = terminal.text.count("the job is RUNNING")
        await until(lambda: terminal.text.count("the job is RUNNING") > shown)
        terminal.type(CTRL_C)
        assert await terminal.ended() == (130, "")


async def test_links_can_be_followed_from_the_live_line(command: Command, write_task: WriteTask) -> None:
    task = write_task("chatty", task_type_version=1, custom={"words": "one two"})
    async with Terminal(command, "run", task).shown() as terminal:
        await until(lambda: "Chat" in terminal.text)
        assert re.search(r"\x1b\]8;[^;]*;https://example\.com/chat\x1b\\", terminal.screen)
        terminal.type(CTRL_C)
        assert await terminal.ended() == (130, "")


async def test_ctrl_c_deletes_the_job(command: Command, platform: FakePlatform, write_task: WriteTask) -> None:
    task = write_task(custom={"duration": None})
    async with Terminal(command, "run", task, "--poll-interval=0.05").shown() as terminal:
        await until(lambda: "RUNNING" in terminal.text)
        terminal.type(CTRL_C)
        assert await terminal.ended() == (130, "")
        await until(lambda: "the job was deleted" in terminal.text)
    assert [job.state for job in platform.jobs()] == [JobState.CANCELLED]
    assert "Traceback" not in terminal.text


async def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    async with Terminal(command, "run", write_task(), term="dumb").shown() as terminal:
        assert (await terminal.ended())[0] == 0
        await until(lambda: "SUCCEEDED  the job is SUCCEEDED" in terminal.text)
    assert "0.0 s  CREATING" in terminal.text
    assert "\x1b[" not in terminal.screen
