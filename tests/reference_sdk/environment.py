"""The environments of Flyte's own SDKs, and questions to what runs in flytekit's."""

from __future__ import annotations

import json
import subprocess
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.emulators import Recipe, environment_of

__all__ = ["FLYTEKIT", "FLYTE_SDK", "Answers", "ask"]

_HERE = Path(__file__).parent
_REFERENCE = _HERE.parents[1] / "benchmarks" / "reference" / "requirements.txt"
_TIMEOUT = 100.0  # seconds; it imports for some of them, on a machine that may be busy


def _unused(port: int, data: Path) -> list[str]:
    raise NotImplementedError("it is no server")


FLYTEKIT = Recipe(
    name="flytekit-plugins",
    requirements=tuple(f"{_REFERENCE.read_text('utf-8')}\n{(_HERE / 'requirements.txt').read_text('utf-8')}".split()),
    command=_unused,
)
"""flytekit and its plugins."""

FLYTE_SDK = Recipe(
    name="flyte-sdk",
    requirements=tuple((_HERE / "requirements-flyte2.txt").read_text("utf-8").split()),
    command=_unused,
)
"""Flyte 2's SDK, with its BigQuery and Databricks plugins; without Spark."""


@dataclass(frozen=True)
class Answers:
    """What the reference's own classes say."""

    templates: Mapping[str, bytes]
    """By name, a task of each of their classes."""
    written: Mapping[str, bytes]
    """By plugin, a meta that they wrote."""
    read: Mapping[str, Sequence[Any]]
    """By plugin, what they made of our metas: the fields, or an error as text."""


def ask(
    *, places: Mapping[str, str], write: Mapping[str, Mapping[str, Any]], read: Mapping[str, Sequence[bytes]]
) -> Answers:
    """Run ``inside.py`` there. It blocks; the first time, while the environment is made, for minutes.

    :param places: where the tasks' platforms are. :param write: the fields of metas to be written. :param read: metas
        to be read.
    :raises demo.emulators.EmulatorUnavailable: the environment cannot be made here.
    """
    environment = environment_of(FLYTEKIT)
    encoded = {name: [b64encode(meta).decode() for meta in metas] for name, metas in read.items()}
    with tempfile.TemporaryDirectory(prefix="flytekit-") as folder:
        answers = Path(folder) / "answers.json"
        done = subprocess.run(
            [environment / "bin" / "python", _HERE / "inside.py", answers],
            input=json.dumps({"places": places, "write": write, "read": encoded}),
            capture_output=True,
            text=True,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": folder},
            timeout=_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"flytekit's side failed: {done.stderr[-2000:]}")
        found = json.loads(answers.read_text("utf-8"))
    decoded = {kind: {name: b64decode(text) for name, text in found[kind].items()} for kind in ("templates", "written")}
    return Answers(**decoded, read=found["read"])
