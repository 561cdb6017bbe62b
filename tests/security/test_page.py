"""SECURITY.md: every test that it names is there, and every place has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
NAMED = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.py)::(\w+)(?:\[[^`]*\])?`", PAGE)
AUDIT = PAGE.partition("## The auditor's pass\n")[2].partition("\n## ")[0]
ROWS = [line for line in AUDIT.splitlines() if line.startswith("| ")][1:]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "test"), sorted({*NAMED}))
def test_a_named_test_is_there(path: str, test: str) -> None:
    assert test in functions(ROOT / path)


def test_every_place_has_a_test_or_says_that_it_cannot_have_one() -> None:
    assert len(ROWS) > 20
    assert [row for row in ROWS if ".py::test_" not in row and "no test" not in row] == []


def test_every_place_that_the_scene_looks_at_is_on_the_page() -> None:
    tree = ast.parse((ROOT / "tests" / "security" / "test_no_leak.py").read_text("utf-8"))
    (places,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "PLACES"
    )
    assert [place for place in places if f"test_no_secret_is_in[{place}]" not in AUDIT] == []


def test_links_lead_to_files() -> None:
    linked = {each.partition("#")[0] for each in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE)}
    assert linked
    assert [each for each in linked if not (ROOT / each).exists()] == []
