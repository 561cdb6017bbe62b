"""The queries of deploy/: what the alerts compare, without the thresholds, and what the dashboard's panels ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # it publishes no types

__all__ = ["DASHBOARD", "DEPLOY", "RULES", "alerts", "panels", "sides", "targets_of"]

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"

_THRESHOLD = re.compile(r"\s*(?:==|!=|[<>]=?)\s*[\d.]+$")
_VARIABLES = {"$job": "connectors", "$instance": ".*", "$task_type": ".*", "$__rate_interval": "1m"}


def alerts() -> list[dict[str, Any]]:
    """Every alert, as it is written."""
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def sides(expression: str) -> Iterator[str]:
    """What an alert compares: each side of its ``or`` and ``and``, without the threshold."""
    depth, start = 0, 0
    for found in re.finditer(r"[({\[]|[)}\]]|\"[^\"]*\"|\s(?:or|and)\s|$", expression):
        match found[0].strip():
            case "(" | "{" | "[":
                depth += 1
            case ")" | "}" | "]":
                depth -= 1
            case "or" | "and" | "" if depth == 0:
                side = _THRESHOLD.sub("", expression[start : found.start()].strip())
                yield re.sub(r"^absent\((.*)\)$", r"\1", side)
                start = found.end()


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that ask something."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets_of(panel: dict[str, Any]) -> Iterator[str]:
    """A panel's queries, for all servers and task types."""
    for target in panel["targets"]:
        query: str = target["expr"]
        for name, value in _VARIABLES.items():
            query = query.replace(name, value)
        assert "$" not in query, query
        yield query
