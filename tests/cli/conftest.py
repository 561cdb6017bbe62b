"""The command as users run it: a process, with the plugins of a folder on its search path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path: Path, plugins: Path) -> Run:
    """Run ``connectors`` to its end, in an empty folder and with no setting of the surroundings."""
    work = tmp_path / "work"
    work.mkdir()

    def connectors(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTORS_")}
        surroundings = {"PYTHONPATH": str(plugins), "XDG_STATE_HOME": str(tmp_path / "state"), "COLUMNS": "200"}
        return subprocess.run(
            [str(Path(sys.executable).with_name("connectors")), *arguments],
            check=False,
            cwd=work,
            env=kept | surroundings | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return connectors


@pytest.fixture
def work(run: Run, tmp_path: Path) -> Path:
    """The folder that the command runs in."""
    return tmp_path / "work"
