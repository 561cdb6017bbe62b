"""No secret is anywhere but where it belongs: one real server, every plugin, both protocols, good calls and bad."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from tests.security.canaries import forms, leaks
from tests.security.scene import Evidence

PLACES = (
    "answers",
    "argv",
    "connectors check",
    "connectors jobs",
    "connectors list",
    "connectors run",
    "errors",
    "files of a local run",
    "logs",
    "metas",
    "metrics",
    "readiness",
    "status page",
    "store",
    "traces",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_in(evidence: Evidence, place: str) -> None:
    assert leaks(evidence.said[place], evidence.secrets) == []


def test_every_place_was_looked_at(evidence: Evidence) -> None:
    assert sorted(evidence.said) == sorted(PLACES)
    assert all(len(text) > 2 for text in evidence.said.values())


@pytest.mark.parametrize(
    ("platform", "secret"),
    [
        ("openai", "OpenAI's key, of the environment"),
        ("webhook", "the webhook's token, of the environment"),
        ("databricks", "Databricks' token, of the request"),
        ("databricks", "Databricks' token, of Kubernetes"),
        ("snowflake", "signed token 0 for snowflake"),
        ("bigquery", "signed token 0 for bigquery"),
        ("bigquery", "Google's access token"),
    ],
)
def test_a_platform_was_shown_its_secret(evidence: Evidence, platform: str, secret: str) -> None:
    assert leaks(evidence.arrived[platform], {secret: evidence.secrets[secret]})


@pytest.mark.parametrize("task", ["bigquery", "snowflake", "databricks", "batch", "chat", "embeddings", "webhook"])
def test_a_task_was_called_well_and_badly(evidence: Evidence, task: str) -> None:
    outcomes = evidence.outcomes[task]
    assert outcomes[0] == "OK"
    assert len(set(outcomes)) > 3


def test_what_the_platforms_repeated_was_told_without_the_secrets(evidence: Evidence) -> None:
    assert b"refused: [secret]" in evidence.said["errors"]
    assert b"refused: [secret]" in evidence.said["logs"]
    assert b"the API key was not accepted" in evidence.said["connectors run"]


def test_the_logs_are_those_of_debugging(evidence: Evidence) -> None:
    assert b'"level": "debug"' in evidence.said["logs"]


@pytest.mark.parametrize("before", ["", "a", "ab", "abc:"])
def test_a_secret_is_found_in_base64_wherever_it_begins(before: str) -> None:
    secret = "an/invented+secret?value"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert leaks(b"x" + encode(f"{before}{secret}:more".encode()), {"it": secret})


def test_a_secret_is_found_in_a_url_and_in_json() -> None:
    secret = 'an "invented" secret/value'
    for text in (quote(secret, safe=""), '{"a": "an \\"invented\\" secret/value"}'):
        assert leaks(text.encode(), {"it": secret})


def test_a_line_of_a_key_is_found() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n0123456789abcdefghij\n-----END PRIVATE KEY-----\n"
    assert leaks(b"...0123456789abcdefghij...", {"it": key})
    assert not leaks(b"-----BEGIN PRIVATE KEY-----", {"it": key})
    assert len(forms(key)) == 9
