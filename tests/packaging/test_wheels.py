"""What a built wheel holds: the checkout has more on its path than a user gets."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.workspace import PACKAGES, PLUGINS, SERVICE, Package

CACHES = {"__pycache__", ".ruff_cache"}


@dataclass(frozen=True)
class Wheel:
    """A wheel's files, by their path in it."""

    files: dict[str, bytes]

    def metadata(self, name: str) -> str:
        """A file of the .dist-info folder."""
        (path,) = (path for path in self.files if path.endswith(f".dist-info/{name}"))
        return self.files[path].decode()

    def entry_points(self, group: str) -> dict[str, str]:
        parser = configparser.ConfigParser(delimiters="=")
        parser.read_string(self.metadata("entry_points.txt"))
        return dict(parser[group])


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Wheel]:
    """Every package's wheel, built from the source archive as it is when published."""
    built = {}
    for package in PACKAGES:
        folder = tmp_path_factory.mktemp(package.name)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(package.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (archive,) = folder.glob("*.whl")
        with zipfile.ZipFile(archive) as wheel:
            built[package.name] = Wheel({name: wheel.read(name) for name in wheel.namelist()})
    return built


def installed_files(package: Package) -> set[str]:
    """What should arrive at the user: the import package's files, without what Python and ruff cache."""
    folder = package.import_package
    paths = (path for path in folder.rglob("*") if path.is_file() and CACHES.isdisjoint(path.parts))
    return {str(Path(folder.name) / path.relative_to(folder)) for path in paths}


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_wheel_holds_the_import_package_whole_and_nothing_else(wheels: dict[str, Wheel], package: Package) -> None:
    files = {name for name in wheels[package.name].files if ".dist-info/" not in name}
    assert files == installed_files(package)


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_wheel_tells_type_checkers_that_it_is_typed(wheels: dict[str, Wheel], package: Package) -> None:
    assert f"{package.import_package.name}/py.typed" in wheels[package.name].files


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_wheel_carries_the_licence(wheels: dict[str, Wheel], package: Package) -> None:
    assert "Apache License" in wheels[package.name].metadata("licenses/LICENSE")


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_wheel_has_the_package_s_readme_as_its_description(wheels: dict[str, Wheel], package: Package) -> None:
    assert (package.folder / "README.md").read_text() in wheels[package.name].metadata("METADATA")


def test_the_service_s_wheel_holds_the_descriptors_that_reflection_serves(wheels: dict[str, Wheel]) -> None:
    assert len(wheels[SERVICE.name].files["connectors/_proto/descriptors.binpb"]) > 10_000


def test_the_service_s_wheel_installs_the_command(wheels: dict[str, Wheel]) -> None:
    assert wheels[SERVICE.name].entry_points("console_scripts") == {"connectors": "connectors.cli:main"}


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_plugin_s_wheel_declares_its_connectors(wheels: dict[str, Wheel], plugin: Package) -> None:
    assert wheels[plugin.name].entry_points("connectors") == plugin.project["entry-points"]["connectors"]
