"""Runs the demo as a process of its own, and finds whatever it may leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ROOT", "Demo"]

ROOT = Path(__file__).resolve().parents[2]
_MARK = "DEMO_UNDER_TEST"


@dataclass
class Demo:
    """A run with a home, a temporary folder and a working folder of its own; the emulators' cache is the user's."""

    folder: Path
    """An empty one."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for the run, over the test's own environment."""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        for each in (self.home, self.temporary, self.working):
            each.mkdir()

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary"

    @property
    def working(self) -> Path:
        return self.folder / "working"

    def start(
        self, *arguments: str, stdout: int = subprocess.PIPE, python: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """The demo, in a session and process group of its own.

        :param stdout: a file descriptor, or a pipe. :param python: the interpreter's command, where it is not this one.
        """
        return subprocess.Popen(
            [*(python or (sys.executable,)), str(ROOT / "demo" / "run_demo.py"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.working,
            env=self._environment(),
            start_new_session=True,
        )

    def left_behind(self) -> list[str]:
        """Processes that the run, or what it started, has not ended, and files in its temporary folder."""
        processes = [f"process {pid}" for pid, variables in _processes() if f"{_MARK}={self.mark}" in variables]
        return processes + [str(path) for path in self.temporary.iterdir()]

    def _environment(self) -> dict[str, str]:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("CONNECTORS_", "XDG_"))}
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
            plain.pop(name, None)
        own = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "XDG_CACHE_HOME": cache, _MARK: self.mark}
        return {**plain, **own, **self.variables}


def _processes() -> list[tuple[int, str]]:
    """Every process of ours that is not a zombie, with its environment as text."""
    if not Path("/proc/self/environ").exists():
        lines = subprocess.run(
            ["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True
        ).stdout
        return [(int(line.split()[0]), line) for line in lines.splitlines()]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(folder.name), (folder / "environ").read_bytes().decode(errors="replace")))
        except OSError:  # gone, or another user's
            continue
    return found
