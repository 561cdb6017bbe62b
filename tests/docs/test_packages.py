"""The packages' own READMEs: what each says of its installation is done with the wheels that ``make wheels`` builds."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.docs.author import Author
from tests.docs.blocks import ROOT, blocks_of

PACKAGES = ["service", *sorted(str(each.parent.relative_to(ROOT)) for each in ROOT.glob("plugins/*/pyproject.toml"))]
INSTALL = "pip install dist/*.whl"
INSTALLATION = ["make wheels", INSTALL]


@pytest.mark.parametrize("package", PACKAGES)
def test_its_readme_begins_with_its_installation(package: str) -> None:
    blocks = blocks_of((ROOT / package / "README.md").read_text("utf-8"))
    first = next(block for block in blocks if block.language == "sh")
    assert first.commands[:2] == INSTALLATION
    assert {*first.commands[2:]} <= {"connectors list", "connectors serve"}  # the guide's pages run these


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """One who has installed what ``make wheels`` builds."""
    author = Author(tmp_path_factory.mktemp("of_wheels"))
    plan = subprocess.run(["make", "--dry-run", "wheels"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for package in PACKAGES:
        assert re.search(rf"\b{package}\b", plan)
        dist = str(author.package / "dist")
        command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", dist, str(ROOT / package)]
        subprocess.run(command, capture_output=True, check=True)
    author.run(INSTALL)
    return author


def test_the_wheels_are_what_is_installed_and_listed(author: Author) -> None:
    code = "import connectors, connectors_bigquery as plugin; print(connectors.__file__, plugin.__file__)"
    installed = author.run(f"python -c '{code}'").split()
    assert [path for path in installed if path.startswith(str(ROOT))] == []
    assert "bigquery_query_job_task" in author.run("connectors list")
