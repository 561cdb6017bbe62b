"""In CI everything that a test needs is there, so a skip fails the session; elsewhere its reason is in the summary."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.workspace import ROOT

SUITE = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skipif(True, reason="no such server on this machine")
def test_that_needs_a_server():
    pass
"""
MODULE = """
import pytest

pytest.skip("the whole module needs a server", allow_module_level=True)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A small suite under the workspace's conftest.py."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_one.py").write_text(SUITE)
    (tmp_path / "test_two.py").write_text(MODULE)
    return tmp_path


def run(suite: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider"]
    return subprocess.run(
        command, cwd=suite, env=inherited | environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_skip_passes_outside_ci_with_its_reason_in_the_summary(suite: Path) -> None:
    done = run(suite)
    assert done.returncode == 0
    assert "no such server on this machine" in done.stdout


def test_a_skip_fails_the_session_in_ci(suite: Path) -> None:
    done = run(suite, CI="1")
    assert done.returncode == 1
    assert "test_one.py::test_that_needs_a_server: no such server on this machine" in done.stdout
    assert "test_two.py: the whole module needs a server" in done.stdout


def test_a_session_without_a_skip_passes_in_ci(suite: Path) -> None:
    assert (
        run(
            suite, CI="1", PYTEST_ADDOPTS="--deselect test_one.py::test_that_needs_a_server --ignore test_two.py"
        ).returncode
        == 0
    )
