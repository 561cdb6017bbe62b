"""The two locks: exact, hashed, complete, and without the name of any index.

`requirements.lock` is what a checkout installs, `service/requirements.lock` what the image installs.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from tests.packaging.workspace import PACKAGES, ROOT, SERVICE, tools

HASHES = r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+"
ENTRY = re.compile(rf"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ]+)(?: ; .+?)?{HASHES}$", re.MULTILINE)
OURS = {canonicalize_name(package.name) for package in PACKAGES}


@dataclass(frozen=True)
class Lock:
    path: Path
    declared: list[Requirement]

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def versions(self) -> dict[NormalizedName, Version]:
        return {canonicalize_name(entry["name"]): Version(entry["version"]) for entry in ENTRY.finditer(self.text)}

    def misses(self, requirements: Iterable[Requirement]) -> list[str]:
        """The requirements that apply here and that no locked version meets."""
        return [str(line) for line in requirements if applies(line) and not self._meets(line)]

    def _meets(self, requirement: Requirement) -> bool:
        version = self.versions.get(canonicalize_name(requirement.name))
        return version is not None and requirement.specifier.contains(version, prereleases=True)


def applies(requirement: Requirement) -> bool:
    ours = canonicalize_name(requirement.name) in OURS
    return not ours and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))


SERVED = {name: lines for name, lines in SERVICE.extras.items() if name not in {"local", "testing"}}
"""The extras that a server may need."""
CHECKOUT = Lock(ROOT / "requirements.lock", [*tools("dev"), *(line for p in PACKAGES for line in p.requirements)])
IMAGE = Lock(
    SERVICE.folder / "requirements.lock",
    [
        *tools("image"),
        *(line for package in PACKAGES for line in package.runtime_requirements),
        *(line for lines in SERVED.values() for line in lines),
    ],
)
every_lock = pytest.mark.parametrize("lock", [CHECKOUT, IMAGE], ids=["checkout", "image"])


def requirements_of(name: str) -> list[Requirement]:
    """What an installed package needs; nothing for one that is locked for another platform or Python."""
    try:
        return [Requirement(line) for line in importlib.metadata.requires(name) or []]
    except importlib.metadata.PackageNotFoundError:
        return []


@every_lock
def test_every_line_is_an_exact_version_with_its_hashes(lock: Lock) -> None:
    rest = ENTRY.sub("", lock.text).splitlines()
    assert [line for line in rest if line.strip() and not line.lstrip().startswith("#")] == []


@every_lock
def test_a_lock_names_no_host_and_no_path_of_a_machine(lock: Lock) -> None:
    assert re.findall(r"^.*(?:://|--index|--find-links|@ |\.\./| /).*$", lock.text, re.MULTILINE) == []


@every_lock
def test_no_package_is_locked_twice(lock: Lock) -> None:
    assert len(ENTRY.findall(lock.text)) == len(lock.versions)


@every_lock
def test_every_declared_requirement_is_locked_at_a_version_it_allows(lock: Lock) -> None:
    assert lock.misses(lock.declared) == []


@every_lock
def test_every_requirement_of_a_locked_package_is_locked_at_a_version_it_allows(lock: Lock) -> None:
    missing = {name: lock.misses(requirements_of(name)) for name in lock.versions}
    assert {name: lines for name, lines in missing.items() if lines} == {}


@every_lock
def test_none_of_the_workspace_s_own_packages_is_taken_from_the_index(lock: Lock) -> None:
    assert OURS.isdisjoint(lock.versions)


def test_the_image_has_every_extra_that_a_server_may_need() -> None:
    installed = re.findall(rf"{SERVICE.name}\[([a-z0-9,-]+)\]", (SERVICE.folder / "Dockerfile").read_text())
    assert [sorted(extras.split(",")) for extras in installed] == [sorted(SERVED)]


def test_the_image_has_the_versions_that_the_suite_ran_with() -> None:
    assert IMAGE.versions.items() <= CHECKOUT.versions.items()


def test_the_suite_runs_with_the_locked_versions() -> None:
    installed = {canonicalize_name(found.name): Version(found.version) for found in importlib.metadata.distributions()}
    differing = {
        name: (version, installed[name])
        for name, version in CHECKOUT.versions.items()
        if name in installed and installed[name] != version
    }
    assert differing == {}
