"""The software bills of materials: valid, and as complete as the locks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from tests.packaging.workspace import PACKAGES, ROOT, SERVICE

NAMES = ["image", *(f"{package.name}-{package.project['version']}" for package in PACKAGES)]
every_document = pytest.mark.parametrize("name", NAMES)


def generate(folder: Path, wheels: Path) -> dict[str, str]:
    command = [sys.executable, str(ROOT / "sbom" / "generate.py"), "--output", str(folder), "--wheels", str(wheels)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return {path.name.removesuffix(".cdx.json"): path.read_text("utf-8") for path in folder.iterdir()}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with a wheel's name."""
    folder = tmp_path_factory.mktemp("wheels")
    version = SERVICE.project["version"]
    with zipfile.ZipFile(folder / f"connectors_service-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("connectors/__init__.py", "")
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> dict[str, str]:
    return generate(tmp_path_factory.mktemp("sbom"), wheels)


@pytest.fixture
def document(texts: dict[str, str], name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(texts[name])
    return found


def locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", path.read_text("utf-8"), re.MULTILINE))


def test_there_is_one_for_the_image_and_one_for_each_package(texts: dict[str, str]) -> None:
    assert sorted(texts) == sorted(NAMES)


@every_document
def test_it_is_valid_by_the_strict_schema(texts: dict[str, str], name: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[name]) is None


@every_document
def test_every_component_of_others_has_the_locked_version_and_its_hashes(document: dict[str, Any], name: str) -> None:
    versions = locked(ROOT / "requirements.lock")
    ours = {canonicalize_name(package.name) for package in PACKAGES}
    others = [each for each in document["components"] if each["name"] not in ours]
    assert others
    assert all(versions[each["name"]] == each["version"] and each["hashes"] for each in others)


@every_document
def test_every_installed_component_names_its_licence(document: dict[str, Any], name: str) -> None:
    """One that is not in the image, nor here, is for another platform: nobody can read what it says."""
    unnamed = {each["name"] for each in document["components"] if not each.get("licenses")}
    assert unnamed <= {each["name"] for each in document["components"] if each.get("scope") == "excluded"}


@every_document
def test_every_component_is_in_the_graph(document: dict[str, Any], name: str) -> None:
    refs = {each["bom-ref"] for each in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    graph = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert graph.keys() == refs
    assert {to for each in graph.values() for to in each} <= refs


def test_the_image_s_lists_its_whole_lock_and_every_package(texts: dict[str, str]) -> None:
    listed = {each["name"] for each in json.loads(texts["image"])["components"]}
    assert listed == locked(SERVICE.folder / "requirements.lock").keys() | {package.name for package in PACKAGES}


def test_what_only_builds_the_image_is_marked(texts: dict[str, str]) -> None:
    components = {each["name"]: each.get("scope") for each in json.loads(texts["image"])["components"]}
    assert components["hatchling"] == "excluded"
    assert [components[name] for name in ("redis", "psycopg", "lightkube", "grpclib")] == [None] * 4


def test_a_package_lists_what_it_needs_and_no_more(texts: dict[str, str]) -> None:
    listed = {each["name"] for each in json.loads(texts[NAMES[1]])["components"]}
    assert "h2" in listed  # through grpclib
    assert listed.isdisjoint({"redis", "openai", "pytest"})


def test_a_built_wheel_is_named_by_its_hash(texts: dict[str, str]) -> None:
    hashes = [json.loads(texts[name])["metadata"]["component"].get("hashes", []) for name in NAMES]
    assert [len(each) for each in hashes] == [0, 1, 0, 0, 0, 0, 0]


def test_the_same_checkout_gives_the_same_documents(texts: dict[str, str], wheels: Path, tmp_path: Path) -> None:
    assert generate(tmp_path, wheels) == texts
