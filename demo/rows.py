"""Reads a result table back over BigQuery's REST API, which is not the way that the server took.

https://cloud.google.com/bigquery/docs/reference/rest/v2/tables/get and .../v2/tabledata/list
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.failures import DemoError

__all__ = ["Table", "read_table"]

_LOCATION = re.compile(r"bq://(?P<project>[^:]+):(?P<dataset>[^.]+)\.(?P<table>.+)")
_TIMEOUT = 10.0  # seconds
# A proxy that the machine is configured with is not for addresses of its own.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Table:
    """A table's columns and rows, as text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def read_table(endpoint: str, uri: str) -> Table:
    """The table that a task's output names.

    :param endpoint: where BigQuery's API is. :param uri: ``bq://<project>:<dataset>.<table>``.
    :raises DemoError: there is no such table, or no BigQuery.
    """
    found = _LOCATION.fullmatch(uri)
    if found is None:
        raise DemoError(f"the output {uri!r} is no bq://<project>:<dataset>.<table>")
    resource = f"{endpoint}/bigquery/v2/projects/{found['project']}/datasets/{found['dataset']}/tables/{found['table']}"
    schema = _get(resource)["schema"]
    data = _get(f"{resource}/data")
    return Table(
        columns=tuple(field["name"] for field in schema["fields"]),
        rows=tuple(tuple(_text(cell["v"]) for cell in row["f"]) for row in data.get("rows", [])),
    )


def _text(value: Any) -> str:
    return "NULL" if value is None else str(value)


def _get(url: str) -> Mapping[str, Any]:
    try:
        with _opener.open(url, timeout=_TIMEOUT) as answer:
            resource: Mapping[str, Any] = json.load(answer)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise DemoError(f"the result cannot be read back from the emulator: {error}") from error
    return resource
