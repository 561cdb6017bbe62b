"""What the guide shows of a new plugin, where its pages cannot show it by themselves (see tests/docs/walk.py)."""

from __future__ import annotations

import os
import re
import subprocess
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from connectors._new.names import Names
from connectors._new.writing import write_plugin
from demo.emulators import Recipe
from tests.docs.blocks import ROOT, blocks_of
from tests.emulators.fixtures import local_bigquery_url
from tests.reference_sdk.environment import FLYTE_SDK, FLYTEKIT
from tests.reference_sdk.programs import BEHIND, Program

__all__ = ["local_bigquery_url"]

FIRST_CONNECTOR = (ROOT / "docs/write/async-connector.md").read_text("utf-8")
SYNC_CONNECTOR = (ROOT / "docs/write/sync-connector.md").read_text("utf-8")
PUBLISH = (ROOT / "docs/write/publish.md").read_text("utf-8")
RUN_LOCALLY = (ROOT / "docs/run-locally.md").read_text("utf-8")
MARKED = re.compile(r'^```python title="(src/[^"]+)" hl_lines="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

BEFORE = """import json, os, sys
sys.path += json.loads(os.environ["BEHIND"])
from tests.reference_sdk.stand_ins import stand_in_for
stand_in_for("pyspark", "snowflake")  # flytekit imports every plugin that is installed
"""


def lines_of(marks: str) -> set[int]:
    """``3-5 9`` is 3, 4, 5 and 9."""
    ends = [[int(each) for each in mark.split("-")] for mark in marks.split()]
    return {line for first, *last in ends for line in range(first, (last or [first])[0] + 1)}


def changed_lines(before: str, after: str) -> set[int]:
    """The lines of ``after`` that are new, or other than before."""
    changes = SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False).get_opcodes()
    return {line + 1 for kind, _, _, first, end in changes if kind != "equal" for line in range(first, end)}


def test_the_lines_that_the_page_marks_are_those_that_differ_from_what_was_written(tmp_path: Path) -> None:
    folder, _ = write_plugin(Names.of("acme"), "async", tmp_path)
    files = MARKED.findall(FIRST_CONNECTOR)
    assert len(files) == 2
    for title, marks, text in files:
        assert (title, lines_of(marks)) == (title, changed_lines((folder / title).read_text("utf-8"), text))


@pytest.mark.parametrize("page", [FIRST_CONNECTOR, SYNC_CONNECTOR])
def test_the_settings_that_a_page_shows_are_those_that_were_written(page: str, tmp_path: Path) -> None:
    folder, _ = write_plugin(Names.of("acme"), "async", tmp_path)
    [block] = [block for block in blocks_of(page) if block.title == "connectors.toml"]
    assert block.text == (folder / "connectors.toml").read_text("utf-8")


def test_one_who_follows_the_link_from_the_first_connector_meets_no_name_or_port_of_it_again() -> None:
    assert "](../run-locally.md)" in FIRST_CONNECTOR
    first, second = [
        {
            word
            for block in blocks_of(page)
            if block.language == "sh" or block.title == "connectors.toml"
            for word in re.findall(r"connectors new (\S+)|(?:--port |tests\.fake_\w+ |127\.0\.0\.1:)(\d+)", block.text)
        }
        for page in (FIRST_CONNECTOR, RUN_LOCALLY)
    ]
    # one server's port for both: the second page says that the first one's server is to be ended
    assert first & second == {("", "8000")}
    assert "End the server of another page" in RUN_LOCALLY


def test_the_release_workflow_builds_as_the_page_does() -> None:
    [block] = [block for block in blocks_of(PUBLISH) if block.title == ".github/workflows/release.yml"]
    *build, compare = re.findall(r"^ +- run: (.+)$", block.text, re.MULTILINE)
    commands = [command for block in blocks_of(PUBLISH) if block.language == "sh" for command in block.commands]
    assert len(build) == 2
    assert set(build) <= set(commands)
    [wheel] = {word for command in commands for word in command.split() if word.endswith(".whl")}
    shown = subprocess.run(
        ["sh", "-c", compare.replace("test -f", "echo")],
        env={"GITHUB_REF_NAME": "v0.1.0", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == wheel


@pytest.mark.parametrize(("title", "sdk"), [("flyte1.py", FLYTEKIT), ("flyte2.py", FLYTE_SDK)])
def test_the_sdk_s_tasks_of_the_page_run(title: str, sdk: Recipe, local_bigquery_url: str, tmp_path: Path) -> None:
    [block] = [block for block in blocks_of(RUN_LOCALLY) if block.title == title]
    script = tmp_path / title
    script.write_text(BEFORE + block.text, "utf-8")
    done = subprocess.run(
        [Program.of(sdk, title).python, script],
        env={
            "BEHIND": BEHIND,
            "BIGQUERY_EMULATOR_HOST": local_bigquery_url,
            "HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
            "PATH": os.environ["PATH"],
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bq://my-project" in done.stdout
