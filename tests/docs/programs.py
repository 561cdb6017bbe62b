"""Programs that do not end by themselves: servers beside a page, and a command that is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

__all__ = ["COMMAND_TIMEOUT", "Server", "interrupted"]

COMMAND_TIMEOUT = 150
"""Seconds for one command of a page."""
_START_TIMEOUT, _STOP_TIMEOUT = 60, 40


class Server:
    """A command that goes on beside the page."""

    def __init__(self, command: str, here: Path, variables: dict[str, str], ports: Iterable[str]) -> None:
        self.command, self.printed = command, ""
        self._process = _started(command, here, variables)
        self._addresses = tuple(f":{port}" for port in ports)
        self._has_said_its_address = False
        self._said_or_ended = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line
            if any(address in line for address in self._addresses):
                self._has_said_its_address = True
                self._said_or_ended.set()
        self._said_or_ended.set()

    def is_ready(self) -> bool:
        """Whether it has said one of the page's addresses; waits until it has, or has ended."""
        self._said_or_ended.wait(_START_TIMEOUT)
        return self._has_said_its_address

    def stop(self) -> None:
        """As a person would, who closes its terminal; what does not end then is killed."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, how)
                try:
                    self._process.wait(_STOP_TIMEOUT)
                except subprocess.TimeoutExpired:
                    continue
        self._reader.join(_STOP_TIMEOUT)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()


def _started(command: str, here: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    """A command in a process group of its own. ``exec env``: a signal reaches the program, also behind variables."""
    return subprocess.Popen(
        ["sh", "-c", f"exec env {command}"],
        cwd=here,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def interrupted(command: str, here: Path, variables: dict[str, str]) -> tuple[int, str]:
    """How a command ended that got SIGINT once it had printed a line, and all that it printed."""
    with _started(command, here, variables) as process:
        assert process.stdout is not None
        killer = threading.Timer(COMMAND_TIMEOUT, process.kill)
        killer.start()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        killer.cancel()
    return process.returncode, first + rest
