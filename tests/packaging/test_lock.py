"""requirements.lock: exact, hashed, complete, and without the name of any index."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.packaging.workspace import PACKAGES, ROOT, dev_requirements

LOCK = (ROOT / "requirements.lock").read_text()
OURS = {canonicalize_name(package.name) for package in PACKAGES}
HASHES = r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+"
ENTRY = re.compile(rf"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ]+)(?: ; .+?)?{HASHES}$", re.MULTILINE)


@pytest.fixture(scope="module")
def locked() -> dict[str, Version]:
    return {canonicalize_name(entry["name"]): Version(entry["version"]) for entry in ENTRY.finditer(LOCK)}


def test_every_line_is_an_exact_version_with_its_hashes() -> None:
    rest = [line for line in ENTRY.sub("", LOCK).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert rest == []


def test_the_lock_names_no_host_and_no_path() -> None:
    assert re.findall(r"^.*(?:://|--index|--find-links|@ |\.\./| /).*$", LOCK, re.M) == []


def test_no_package_is_locked_twice(locked: dict[str, Version]) -> None:
    assert len(ENTRY.findall(LOCK)) == len(locked)


def test_every_declared_requirement_is_locked_at_a_version_it_allows(locked: dict[str, Version]) -> None:
    declared = [*dev_requirements(), *(line for package in PACKAGES for line in package.requirements)]
    outside = [str(line) for line in declared if canonicalize_name(line.name) not in OURS and not allowed(line, locked)]
    assert outside == []


def test_every_requirement_of_a_locked_package_is_locked_at_a_version_it_allows(locked: dict[str, Version]) -> None:
    installed = {
        name: [Requirement(line) for line in importlib.metadata.requires(name) or []]
        for name in locked
        if is_installed(name)
    }
    outside = [
        f"{name} needs {line}"
        for name, lines in installed.items()
        for line in lines
        if (line.marker is None or line.marker.evaluate({"extra": ""})) and not allowed(line, locked)
    ]
    assert outside == []


def test_the_test_run_uses_the_locked_versions(locked: dict[str, Version]) -> None:
    differing = {
        name: importlib.metadata.version(name)
        for name, version in locked.items()
        if is_installed(name) and Version(importlib.metadata.version(name)) != version
    }
    assert differing == {}


def test_none_of_the_workspace_s_own_packages_is_taken_from_the_index(locked: dict[str, Version]) -> None:
    assert OURS.isdisjoint(locked)


def allowed(requirement: Requirement, locked: dict[str, Version]) -> bool:
    version = locked.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False  # locked for another platform or Python
    return True
