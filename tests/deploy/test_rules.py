"""deploy/prometheus/rules.yaml: what makes each alert fire, and where it says what to do."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it publishes no types

from connectors._wire.status import Status
from tests.deploy.prometheus import program
from tests.deploy.queries import DEPLOY, RULES, alerts

TESTS = RULES.with_name("rules_test.yaml")
RUNBOOK = DEPLOY.parent / "docs" / "operate" / "alerts.md"
ALERTS = {alert["alert"]: alert for alert in alerts()}
HEADINGS = re.findall(r"(?m)^### (\w+)$", RUNBOOK.read_text("utf-8"))


def test_the_rules_fire_when_they_should_and_not_otherwise() -> None:
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(TESTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_can_use_the_rules_and_the_configuration() -> None:
    for kind, file in (("rules", RULES), ("config", RULES.with_name("prometheus.yaml"))):
        done = subprocess.run(
            [program("promtool"), "check", kind, str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_seen_to_fire_and_to_be_quiet(name: str) -> None:
    seen: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for case in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]:
        for check in case.get("promql_expr_test", ()):
            if f'alertname="{name}"' in check["expr"]:
                seen[bool(check["exp_samples"])].append(check)
    assert seen[True]
    assert seen[False]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_how_bad_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["runbook"] == f"docs/operate/alerts.md#{name.lower()}"
    assert name in HEADINGS


def test_the_runbook_has_an_entry_for_each_alert_and_no_other() -> None:
    assert sorted(HEADINGS) == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_the_statuses_that_an_alert_asks_for_are_grpc_s(name: str) -> None:
    asked = re.findall(r"error_code=~?\"([^\"]*)\"", ALERTS[name]["expr"])
    assert {code for text in asked for code in text.split("|")} <= set(Status.__members__)
