"""What every package of the workspace promises in its manifest."""

from __future__ import annotations

import pytest

from tests.packaging.workspace import PACKAGES, PLUGINS, SERVICE, Package

every_package = pytest.mark.parametrize("package", PACKAGES, ids=str)


@every_package
def test_a_dependency_has_a_lower_and_an_upper_bound(package: Package) -> None:
    unbounded = [
        str(requirement)
        for requirement in package.requirements
        if not {">=", "<"} <= {specifier.operator for specifier in requirement.specifier}
    ]
    assert unbounded == []


@every_package
def test_a_dependency_comes_from_the_index_and_from_nowhere_else(package: Package) -> None:
    assert [str(requirement) for requirement in package.requirements if requirement.url] == []


@every_package
def test_every_package_supports_the_same_pythons(package: Package) -> None:
    assert package.project["requires-python"] == ">=3.11,<3.14"
    languages = {line for line in package.project["classifiers"] if line.startswith("Programming Language")}
    assert languages == {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)}


@every_package
def test_every_package_has_the_version_of_the_service(package: Package) -> None:
    assert package.project["version"] == SERVICE.project["version"]


@every_package
def test_every_package_names_its_licence_and_carries_it(package: Package) -> None:
    assert package.project["license"] == "Apache-2.0"
    assert (package.folder / "LICENSE").read_text() == (SERVICE.folder / "../LICENSE").read_text()


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_plugin_is_named_after_its_folder(plugin: Package) -> None:
    assert plugin.name == f"connectors-{plugin.folder.name}"
    assert plugin.import_package.name == f"connectors_{plugin.folder.name}"


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_plugin_takes_a_range_of_the_service_that_holds_this_version(plugin: Package) -> None:
    (service,) = (line for line in plugin.requirements if line.name == SERVICE.name)
    assert service.specifier.contains(SERVICE.project["version"])


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_plugin_is_found_through_the_entry_point_group(plugin: Package) -> None:
    entry_points = plugin.project["entry-points"]["connectors"]
    assert entry_points
    assert all(target.startswith(f"{plugin.import_package.name}:") for target in entry_points.values())
