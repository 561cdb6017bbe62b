"""The contract suite: good connectors pass it, and each of its facts finds the connector that does not keep to it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from connectors.testing.contract import AsyncConnectorContract, SyncConnectorContract, json_members
from connectors.testing.platform import NativeConnector, NoneConnector, SearchConnector
from tests.testing import flawed_connectors
from tests.testing.contract_cases import LookUpContract, PlatformContract
from tests.testing.flawed_connectors import FLAWS

ROOT = Path(__file__).parents[2]


class TestNative(PlatformContract):
    kind = NativeConnector


class TestSearch(PlatformContract):
    kind = SearchConnector


class TestNone(PlatformContract):
    kind = NoneConnector


class TestLookUp(LookUpContract):
    pass


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[str]]:
    """What became of the facts about the flawed connectors: by suite and fact, "failure", "error" or "passed" for each
    set of parameters.
    """
    report = tmp_path_factory.mktemp("flawed") / "report.xml"
    module = Path(flawed_connectors.__file__).relative_to(ROOT).as_posix()
    ids = [f"{module}::{suite}::{fact}" for suite, fact in FLAWS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *ids]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-4000:]
    found: dict[tuple[str, str], list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest's own
        suite, name = case.attrib["classname"].rpartition(".")[2], case.attrib["name"]
        became = next((child.tag for child in case if child.tag in {"failure", "error"}), "passed")
        for fact in {name, name.partition("[")[0]}:
            found.setdefault((suite, fact), []).append(became)
    return found


@pytest.mark.parametrize(("suite", "fact"), FLAWS)
def test_a_fact_finds_the_connector_that_does_not_keep_to_it(
    outcomes: dict[tuple[str, str], list[str]], suite: str, fact: str
) -> None:
    became = outcomes[suite, fact]
    assert "failure" in became
    assert "error" not in became  # what broke would be the test


def test_every_fact_has_a_connector_that_does_not_keep_to_it() -> None:
    facts = {
        name
        for contract in (AsyncConnectorContract, SyncConnectorContract)
        for name, _ in inspect.getmembers(contract, inspect.isfunction)
        if name.startswith("test_")
    }
    assert facts - {fact.partition("[")[0] for _, fact in FLAWS} == set()


def test_json_members_are_replaced_wherever_they_stand() -> None:
    rewrite = json_members(state="ASLEEP")
    shown = b'{"jobs": [{"state": 1, "x": {"state": {}}}], "y": 2}'
    assert rewrite(shown) == b'{"jobs": [{"state": "ASLEEP", "x": {"state": "ASLEEP"}}], "y": 2}'
