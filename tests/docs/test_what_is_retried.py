"""ARCHITECTURE.md's tables of what is retried are what the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

import pytest

import connectors
from connectors import ConnectorError, HttpResponse, error_for_status
from connectors_bigquery._rest import RETRYABLE_REASONS, error_of
from tests.docs.blocks import ROOT

HTTP, REASON = "HTTP", "reason"
NO_STATUS = ("no connection, or one that broke off", "no answer in time")  # tests/public/test_http.py has these


@cache
def rows(first: str) -> dict[str, tuple[str, str, str]]:
    """The table whose first column is called so: its other columns by each of the names that its first one lists."""
    found: dict[str, tuple[str, str, str]] = {}
    for name, *values in cells(first):
        for each in (name,) if name in NO_STATUS else name.split(", "):
            assert each not in found
            error, retryable, proof = values
            found[each] = (error, retryable.removesuffix(" (¹)"), proof)
    return found


def cells(first: str) -> Iterator[list[str]]:
    _, _, section = (ROOT / "ARCHITECTURE.md").read_text().partition("## What is retried\n")
    _, _, table = section.partition(f"\n| {first} |")
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def described(error: ConnectorError) -> tuple[str, str, str]:
    kind, words = type(error), {True: "yes", False: "no"}
    return kind.__name__, words[kind.retryable], words[kind.proves_no_job]


def bigquery_says(status: int, reason: str) -> ConnectorError:
    body = {"error": {"message": "told", "errors": [{"reason": reason}]}}
    return error_of(HttpResponse(status, {}, json.dumps(body).encode()))


@pytest.mark.parametrize("status", range(400, 600))
def test_each_http_status_is_in_the_table_as_it_is_in_the_code(status: int) -> None:
    table = rows(HTTP)
    row = table.get(str(status)) or table[f"any other {status // 100}xx"]
    assert described(error_for_status(status, "told")) == row


@pytest.mark.parametrize("row", NO_STATUS)
def test_what_has_no_status_is_described_as_its_class_is(row: str) -> None:
    error = rows(HTTP)[row][0]
    assert described(getattr(connectors, error)()) == rows(HTTP)[row]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500, 503])
def test_each_reason_of_bigquery_is_in_the_table_as_it_is_in_the_code(status: int) -> None:
    named = {reason: row for reason, row in rows(REASON).items() if reason != "any other"}
    assert {reason: described(bigquery_says(status, reason)) for reason in named} == named


def test_every_reason_of_bigquery_that_is_retryable_is_in_the_table() -> None:
    assert {reason for reason, row in rows(REASON).items() if row[1] == "yes"} == RETRYABLE_REASONS


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 501, 503])
def test_any_other_reason_of_bigquery_is_its_status(status: int) -> None:
    assert type(bigquery_says(status, "quite another")) is type(error_for_status(status, "told"))


def test_every_error_that_is_retryable_is_in_the_table() -> None:
    kinds = {name: getattr(connectors, name) for name in connectors.__all__}
    retryable = {
        name for name, kind in kinds.items() if isinstance(kind, type) and getattr(kind, "retryable", False) is True
    }
    assert retryable == {row[0] for row in rows(HTTP).values() if row[1] == "yes"}
