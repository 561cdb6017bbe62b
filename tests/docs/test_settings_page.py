"""The guide's page of settings is what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest

from connectors._settings import FILE_ONLY, Settings
from connectors._settings.settings import LimitsOfConnector
from docs.generate_settings import PAGE, ROOT, generated

TEXT = PAGE.read_text("utf-8")
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))


def test_its_tables_are_those_that_are_made_from_the_code() -> None:
    assert generated(TEXT) == TEXT, "make docs"


def test_a_table_that_is_out_of_date_is_written_anew() -> None:
    assert generated(TEXT.replace("| `25` |", "| `26` |")) == TEXT


def test_it_names_every_flag_of_the_server_and_no_other() -> None:
    code = "import sys; from connectors.cli import main; sys.argv = ['connectors', 'serve', '--help']; main()"
    wide = {**os.environ, "COLUMNS": "200"}  # a flag is not to be broken off at the end of a line
    helped = subprocess.run([sys.executable, "-c", code], env=wide, capture_output=True, text=True, check=True)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", helped.stdout)) - {"--help"}
    named = set(re.findall(r"^\| `(--[a-z-]+)`", TEXT, re.MULTILINE))
    assert named == {flag for flag in flags if not flag.startswith("--no-")}


def test_it_has_a_row_for_every_setting_of_the_server() -> None:
    rows = re.findall(r"^\| `--[^|]*<br>`CONNECTORS_(\w+)`", TEXT, re.MULTILINE)
    assert [row.lower() for row in rows] == [name for name in Settings.model_fields if name not in FILE_ONLY]


def test_it_has_a_row_for_every_limit_of_a_task_type() -> None:
    _, _, limits = TEXT.partition("## Limits of one task type")
    assert re.findall(r"^\| `(\w+)` \|", limits.partition("## ")[0], re.MULTILINE) == list(
        LimitsOfConnector.model_fields
    )


@pytest.mark.parametrize("plugin", PLUGINS)
def test_it_has_the_settings_of_every_plugin_s_own_readme(plugin: str) -> None:
    readme = (ROOT / "plugins" / plugin / "README.md").read_text("utf-8")
    entry_points = tomllib.loads((ROOT / "plugins" / plugin / "pyproject.toml").read_text("utf-8"))["project"][
        "entry-points"
    ]
    [name] = entry_points["connectors"]
    variable = rf"CONNECTORS_{name.upper()}__\w+"
    assert set(re.findall(variable, readme)) <= set(re.findall(rf"^\| `({variable})`", TEXT, re.MULTILINE))
