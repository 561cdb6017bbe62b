"""The table of values in docs/operate/kubernetes.md, made from the chart by ``python -m tests.deploy.chart_values``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # it publishes no types

from tests.deploy.helm import CHART
from tests.deploy.queries import DEPLOY

__all__ = ["PAGE", "defaults", "generated", "schema"]

PAGE = DEPLOY.parent / "docs" / "operate" / "kubernetes.md"
_TABLE = re.compile(r"(?s)(?<=<!-- values -->\n).*?(?=<!-- end -->)")


def schema() -> dict[str, Any]:
    """What the values may be."""
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    return found


def defaults() -> dict[str, Any]:
    """The values as they are."""
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    return found


def generated(page: str) -> str:
    """The page, with its table as the chart has it."""
    lines = ["| value | default | meaning |", "|---|---|---|", *_rows(schema()["properties"], defaults(), "")]
    table = "\n" + "\n".join(lines) + "\n\n"
    return _TABLE.sub(lambda _: table, page)


def _rows(properties: dict[str, Any], given: dict[str, Any], before: str) -> Iterator[str]:
    for name, each in properties.items():
        if name not in given:  # `global` is Helm's
            continue
        if "properties" in each and "description" not in each:
            yield from _rows(each["properties"], given[name], f"{before}{name}.")
        else:
            yield f"| `{before}{name}` | {_default(given[name])} | {each['description'].replace('|', chr(92) + '|')} |"


def _default(value: Any) -> str:
    match value:
        case str() | list() | dict() if not value:
            return ""
        case str():
            return f"`{value}`"
        case list() | dict() if len(json.dumps(value)) > 80:
            return "see `values.yaml`"
        case _:
            return f"`{json.dumps(value)}`"


def _write(page: Path) -> None:
    page.write_text(generated(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    _write(PAGE)
