"""The guide's table of exit codes is the command's."""

from __future__ import annotations

import re

from connectors._run.exit_codes import ExitCode
from tests.docs.blocks import ROOT


def test_the_exit_codes_are_those_of_the_command() -> None:
    _, _, page = (ROOT / "docs" / "run-locally.md").read_text("utf-8").partition("\n| exit code | |\n")
    rows = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(ExitCode)
