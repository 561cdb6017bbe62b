"""Programs that run in the environments of Flyte's own SDKs, and tell a result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.emulators import EmulatorUnavailable, Recipe, environment_of

__all__ = ["BEHIND", "Program"]

BEHIND = json.dumps([each for each in sys.path if each])
"""Where the project's packages are: a program puts them behind the SDK's own, so that the SDK runs with what it asks
for."""
_TIMEOUT = 100.0  # seconds


@dataclass(frozen=True)
class Program:
    """A module of this folder, and the Python of an SDK's environment."""

    python: str
    path: Path

    @classmethod
    def of(cls, recipe: Recipe, name: str) -> Program:
        """It blocks; the first time, while the environment is made, for minutes."""
        try:
            return cls(str(environment_of(recipe) / "bin" / "python"), Path(__file__).with_name(name))
        except EmulatorUnavailable as reason:
            pytest.skip(str(reason))

    def result(self, *arguments: str, variables: Mapping[str, str], folder: Path) -> Any:
        """What it tells, once it has ended."""
        done = subprocess.run(
            [self.python, self.path, *arguments],
            env={"PATH": os.environ["PATH"], **variables},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert lines, done.stderr
        return json.loads(lines[0].removeprefix("RESULT "))
