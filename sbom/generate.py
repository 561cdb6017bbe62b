"""``make sbom``: what the image and each wheel are made of, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/).

It needs no network: versions are the locks', and so are the hashes, of every file that a lock accepts; licences are
what the installed packages say of themselves. Python packages alone are listed: what the base image brings (Debian's
packages, Python itself) is for whoever builds on it to list. The same commit gives the same files: they hold no time,
and their serial numbers come of what they hold.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import re
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[1]
IN_THE_IMAGE = ("redis", "postgresql", "kubernetes", "otel")
"""The extras of the service that the image has."""
_LOCKED = re.compile(r"^([a-z0-9.-]+)==([^ ]+)(?: ; .+?)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_LONGEST_LICENCE = 60  # characters: what is longer is the licence's whole text
_NAMESPACE = uuid.UUID("6f0d2f4c-0f9e-5c1d-9d3c-4c2a8f1f7a10")  # of serial numbers; drawn once


@dataclass(frozen=True)
class Locked:
    """A package of a lock."""

    version: str
    hashes: tuple[str, ...]


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(prog="make sbom", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "sbom", help="the folder to write to")
    parser.add_argument("--wheels", type=Path, default=ROOT / "dist", help="where built wheels are, for their hashes")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, bom in boms(options.wheels):
        path = options.output / f"{name}.cdx.json"
        path.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", "utf-8")
        print(f"{path}: {len(bom.components)} components")


def boms(wheels: Path) -> Iterator[tuple[str, Bom]]:
    """The image's, then each package's, by the names of their files."""
    projects = [
        tomllib.loads(path.read_text("utf-8"))["project"]
        for path in (ROOT / "service" / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml")))
    ]
    by_name = {canonicalize_name(each["name"]): each for each in projects}
    yield "image", _of_image(by_name, _lock(ROOT / "service" / "requirements.lock"))
    lock = _lock(ROOT / "requirements.lock")
    for name, project in by_name.items():
        yield f"{name}-{project['version']}", _of_wheel(name, by_name, lock, wheels)


def _of_image(projects: Mapping[NormalizedName, Any], lock: Mapping[NormalizedName, Locked]) -> Bom:
    image = Component(name="connectors", type=ComponentType.CONTAINER, bom_ref="image")
    graph = _Graph(projects, lock)
    for name in projects:
        graph.follow(name, IN_THE_IMAGE if name == "connectors-service" else ())
    return graph.bom(image, tuple(projects), at_build_only=lock.keys() - graph.edges.keys())


def _of_wheel(
    name: NormalizedName, projects: Mapping[NormalizedName, Any], lock: Mapping[NormalizedName, Locked], wheels: Path
) -> Bom:
    graph = _Graph(projects, lock)
    graph.follow(name, ())
    built = next(wheels.glob(f"{name.replace('-', '_')}-{projects[name]['version']}-*.whl"), None)
    digest = () if built is None else (hashlib.sha256(built.read_bytes()).hexdigest(),)
    return graph.bom(_component(name, graph.version(name), digest, _licence(projects[name])), graph.edges[name])


class _Graph:
    """Which packages need which, at the versions of a lock."""

    def __init__(self, projects: Mapping[NormalizedName, Any], lock: Mapping[NormalizedName, Locked]) -> None:
        self.edges: dict[NormalizedName, set[NormalizedName]] = {}
        self._projects = projects
        self._lock = lock
        self._followed: set[tuple[NormalizedName, str]] = set()

    def follow(self, name: NormalizedName, extras: Iterable[str]) -> None:
        """Note what a package needs, and what that needs."""
        edges = self.edges.setdefault(name, set())
        for extra in ("", *extras):
            if (name, extra) in self._followed:
                continue
            self._followed.add((name, extra))
            for requirement in self._requirements(name, extra):
                needed = canonicalize_name(requirement.name)
                if needed in self._projects or needed in self._lock:
                    edges.add(needed)
                    self.follow(needed, requirement.extras)

    def version(self, name: NormalizedName) -> str:
        return str(self._projects[name]["version"]) if name in self._projects else self._lock[name].version

    def bom(
        self,
        subject: Component,
        direct: Iterable[NormalizedName],
        *,
        at_build_only: Iterable[NormalizedName] = (),
    ) -> Bom:
        """The document about ``subject``. :param at_build_only: what builds it and does not stay."""
        made = {name: self._made(name) for name in self.edges if name != subject.name}
        bom = Bom(components=made.values())
        bom.metadata.timestamp = None  # type: ignore[assignment] # the schema does not ask for it
        bom.metadata.component = subject
        bom.register_dependency(subject, [made[name] for name in sorted(direct)])
        for name, component in made.items():
            bom.register_dependency(component, [made[each] for each in sorted(self.edges[name])])
        for name in sorted(at_build_only):
            component = self._made(name)
            component.scope = ComponentScope.EXCLUDED
            bom.components.add(component)
        held = "\n".join(f"{each.name} {each.version}" for each in sorted(bom.components))
        bom.serial_number = uuid.uuid5(_NAMESPACE, f"{subject.name} {subject.version}\n{held}")
        return bom

    def _made(self, name: NormalizedName) -> Component:
        if name in self._projects:
            return _component(name, self.version(name), (), _licence(self._projects[name]))
        return _component(name, self.version(name), self._lock[name].hashes, _licence(_metadata(name)))

    def _requirements(self, name: NormalizedName, extra: str) -> Iterator[Requirement]:
        if name in self._projects:
            project = self._projects[name]
            lines = project.get("optional-dependencies", {}).get(extra, []) if extra else project["dependencies"]
            yield from map(Requirement, lines)
            return
        for line in _metadata(name).get("requires", []):
            requirement = Requirement(line)
            # what is for another extra alone is not followed, nor what is for another platform
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                yield requirement


def _metadata(name: str) -> dict[str, Any]:
    """Of an installed package; empty for one that is locked for another platform."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return {}
    classifiers = found.metadata.get_all("Classifier") or []
    return {
        "requires": found.requires or [],
        "license": (found.metadata.get_all("License-Expression") or found.metadata.get_all("License") or [""])[0],
        "classifiers": [each for each in classifiers if each.startswith("License :: OSI Approved :: ")],
    }


def _licence(about: Mapping[str, Any]) -> str:
    """In the package's own words; "" where it says none."""
    said = about.get("license") or ""
    if isinstance(said, str) and 0 < len(said) <= _LONGEST_LICENCE and said.upper() != "UNKNOWN":
        return said
    named = [each.rpartition(" :: ")[2] for each in about.get("classifiers", []) if each.startswith("License :: ")]
    return named[0] if named else ""


def _component(name: str, version: str, hashes: Iterable[str], licence: str) -> Component:
    purl = PackageURL(type="pypi", name=name, version=version)
    licences: list[License] = [LicenseFactory().make_from_string(licence)] if licence else []
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in hashes],
        licenses=licences,
    )


def _lock(path: Path) -> dict[NormalizedName, Locked]:
    return {
        canonicalize_name(name): Locked(version, tuple(_HASH.findall(hashes)))
        for name, version, hashes in _LOCKED.findall(path.read_text("utf-8"))
    }


if __name__ == "__main__":
    main()
