"""The workspace's packages, as the packaging tests see them: from their manifests, not from what is installed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Package:
    """One distribution of the workspace."""

    folder: Path

    @cached_property
    def project(self) -> dict[str, Any]:
        project: dict[str, Any] = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]
        return project

    @property
    def name(self) -> str:
        return str(self.project["name"])

    @property
    def runtime_requirements(self) -> list[Requirement]:
        """What the package needs to run, without an extra."""
        return [Requirement(line) for line in self.project["dependencies"]]

    @property
    def extras(self) -> dict[str, list[Requirement]]:
        """What each extra adds."""
        extras = self.project.get("optional-dependencies", {})
        return {name: [Requirement(line) for line in lines] for name, lines in extras.items()}

    @property
    def requirements(self) -> list[Requirement]:
        """What the package may bring along: with every extra."""
        return self.runtime_requirements + [line for lines in self.extras.values() for line in lines]

    @property
    def import_package(self) -> Path:
        """The one folder under src/ that is installed."""
        (found,) = (path for path in (self.folder / "src").iterdir() if (path / "__init__.py").exists())
        return found

    def __str__(self) -> str:
        return self.name


SERVICE = Package(ROOT / "service")
PLUGINS = [Package(manifest.parent) for manifest in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
PACKAGES = [SERVICE, *PLUGINS]


def tools(group: str) -> list[Requirement]:
    """A group of the workspace's own manifest, with the groups that it includes."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    requirements = [Requirement(line) for line in groups[group] if isinstance(line, str)]
    for line in groups[group]:
        if isinstance(line, dict):
            requirements += tools(line["include-group"])
    return requirements
