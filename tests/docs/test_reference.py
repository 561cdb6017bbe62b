"""The guide's reference and its pages of plugins leave nothing out."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

import pytest

import connectors
from docs.docstrings import as_markdown
from tests.docs.blocks import ROOT

PAGES = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "docs" / "reference").glob("*.md")))
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
NOT_FOR_AUTHORS = {
    "connectors.cli": "the command",
    "connectors.connector": "what authors need of it is in connectors",
    "connectors.context": "likewise",
    "connectors.models": "likewise",
    "connectors.testing.platform.__main__": "a command",
}


def public_modules() -> list[str]:
    found = ["connectors", *(module.name for module in pkgutil.walk_packages(connectors.__path__, "connectors."))]
    return [name for name in found if not re.search(r"\._[a-z]", name) and name not in NOT_FOR_AUTHORS]


def shown() -> list[Any]:
    """Every object that a page shows, by itself or with its module."""
    objects = []
    for name in re.findall(r"^::: ([\w.]+)$", PAGES, re.MULTILINE):
        parent, _, last = name.rpartition(".")
        if name in public_modules():
            module = importlib.import_module(name)
            objects += [getattr(module, each) for each in getattr(module, "__all__", [])]
        else:
            objects.append(getattr(importlib.import_module(parent), last))
    return objects


@pytest.mark.parametrize("name", public_modules())
def test_every_public_name_is_in_the_reference(name: str) -> None:
    module, objects = importlib.import_module(name), shown()
    names = getattr(module, "__all__", [])
    assert [each for each in names if not any(getattr(module, each) is one for one in objects)] == []


# --- docstrings


def test_a_role_is_code() -> None:
    assert as_markdown("Derive from :class:`~connectors.Phase`.") == "Derive from ``connectors.Phase``."


def test_a_literal_block_is_a_fenced_one() -> None:
    assert as_markdown("So::\n\n    a = 1\n\n    b = 2\n\nand on.") == (
        "So:\n\n```python\na = 1\n\nb = 2\n```\n\nand on."
    )


def test_each_field_has_a_line_of_its_own() -> None:
    assert as_markdown(":param a: one. :param b: two.") == ":param a: one.\n:param b: two."


def test_each_exception_has_a_field_of_its_own() -> None:
    assert as_markdown(":raises A, B: so.\n:returns: c") == ":raises A: so.\n:raises B: so.\n:returns: c"


def test_what_names_no_exception_is_about_any() -> None:
    assert as_markdown(":raises: as ``run``.") == ":raises Exception: as ``run``."


# --- plugins


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_s_page_is_its_readme(plugin: str) -> None:
    assert f'"plugins/{plugin}/README.md"' in (ROOT / "docs" / "plugins" / f"{plugin}.md").read_text("utf-8")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_s_page_is_in_the_list(plugin: str) -> None:
    assert f"]({plugin}.md) | `connectors-{plugin}` |" in (ROOT / "docs" / "plugins" / "index.md").read_text("utf-8")
