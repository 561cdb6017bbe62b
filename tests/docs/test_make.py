"""The make targets that README.md and the guide name.

They set up and check this checkout itself, so that from within it make is only asked for its plan of them; `make demo`
is run by tests/demo.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.docs.blocks import ROOT, blocks_of

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HERE = "tests/docs/test_make.py"
ACTIVATE = ". .venv/bin/activate"
COMMANDS = sorted(
    {
        command
        for page in PAGES
        for block in blocks_of(page.read_text("utf-8"))
        if block.notes.get("checked by") == HERE
        for command in block.commands
    }
)
TARGETS = [command for command in COMMANDS if command != ACTIVATE]


def printed(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_these_are_targets_of_make_and_the_activation_of_what_it_makes() -> None:
    assert {"make demo", "make test", ACTIVATE} <= {*COMMANDS}
    assert [command for command in TARGETS if not re.fullmatch(r"make [a-z-]+", command)] == []


@pytest.mark.parametrize("command", TARGETS)
def test_make_knows_the_target(command: str) -> None:
    assert printed(*command.split(), "--dry-run")


@pytest.mark.parametrize("command", sorted({*TARGETS} - {"make help"}))
def test_make_help_names_the_target(command: str) -> None:
    assert command in {" ".join(line.split()[:2]) for line in printed("make", "help").splitlines()}


def test_make_demo_runs_the_demo() -> None:
    assert "demo/run_demo.py" in printed("make", "demo", "--dry-run")
    assert (ROOT / "demo" / "run_demo.py").exists()


def test_make_install_makes_what_is_activated() -> None:
    assert re.search(r"-m venv .* \.venv\b", printed("make", "--always-make", "install", "--dry-run"))


def test_make_docs_builds_the_site_and_the_tables_of_settings() -> None:
    plan = printed("make", "docs", "--dry-run")
    assert "python docs/generate_settings.py" in plan
    assert "mkdocs build --strict" in plan


def test_make_check_builds_the_site_too() -> None:
    plan = printed("make", "check", "--dry-run")
    assert "python docs/generate_settings.py --check" in plan
    assert "mkdocs build --strict" in plan
