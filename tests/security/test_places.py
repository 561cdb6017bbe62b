"""Places where a secret could lie that no call passes: the image, the checkout, an error in the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64,}-----END")


def test_the_image_is_made_of_the_packages_alone() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    assert {line for line in rules if line.startswith("!")} == {"!service", "!plugins"}


def test_an_image_is_built_with_no_value_but_the_list_of_plugins() -> None:
    dockerfile = (ROOT / "service" / "Dockerfile").read_text("utf-8")
    assert {*re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE)} == {"PLUGINS"}
    (variables,) = re.findall(r"^ENV ((?:.*\\\n)*.*)", dockerfile, re.MULTILINE)
    assert not re.search(r"PASSWORD|TOKEN|SECRET|_KEY\b", variables, re.IGNORECASE)


def test_no_private_key_is_in_the_repository() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    files = [ROOT / name.decode() for name in names.split(b"\0") if name]
    assert len(files) > 100
    assert [str(file) for file in files if file.is_file() and KEY.search(file.read_bytes())] == []
