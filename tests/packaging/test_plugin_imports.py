"""A plugin imports public names of the service only: the rest may change without notice.

The import contracts say the same of modules; these tests also see a private name in a public module, and need no list.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.workspace import PLUGINS, ROOT, SERVICE, Package

LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def imported_names(path: Path) -> Iterator[str]:
    """Every name that a module imports, dotted and whole: `from a.b import c` gives a.b.c."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(plugin: Package) -> set[str]:
    return {name for path in plugin.import_package.rglob("*.py") for name in imported_names(path)}


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_plugin_imports_no_private_name_of_the_service(plugin: Package) -> None:
    of_the_service = {name for name in imports_of(plugin) if name.split(".")[0] == "connectors"}
    assert {name for name in of_the_service if any(part.startswith("_") for part in name.split("."))} == set()


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_plugin_imports_no_other_plugin(plugin: Package) -> None:
    others = {other.import_package.name for other in PLUGINS if other != plugin}
    assert {name for name in imports_of(plugin) if name.split(".")[0] in others} == set()


def test_every_plugin_stands_under_the_import_contracts() -> None:
    plugins = {plugin.import_package.name for plugin in PLUGINS}
    assert set(LINTER["root_packages"]) == {SERVICE.import_package.name, *plugins}
    (contract,) = (contract for contract in LINTER["contracts"] if "source_modules" in contract)
    assert set(contract["source_modules"]) == plugins


def test_the_import_contracts_protect_every_private_module_of_the_service() -> None:
    folder = SERVICE.import_package
    paths = [*folder.glob("_*.py"), *(path.parent for path in folder.glob("_*/__init__.py"))]
    private = {f"{folder.name}.{path.stem}" for path in paths if not path.stem.startswith("__")}
    (contract,) = (contract for contract in LINTER["contracts"] if contract["name"].startswith("Plugins import"))
    assert set(contract["protected_modules"]) == private
