from __future__ import annotations

import pytest

from connectors_bigquery import BigQueryConnector, BigQuerySettings
from connectors_bigquery.settings import emulator_endpoint


@pytest.mark.parametrize(
    "endpoint", ["https://bigquery.europe-west3.rep.googleapis.com", "http://127.0.0.1:9050", "http://localhost:1"]
)
def test_an_endpoint_is_https_or_this_machine(endpoint: str) -> None:
    assert BigQuerySettings(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["http://bigquery.example", "bigquery.example", "", "ftp://x", "https://", "https://me@x", "https://x/?a=b"],
)
def test_another_endpoint_is_an_error(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        BigQuerySettings(endpoint=endpoint)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_timeout_is_above_zero(seconds: float) -> None:
    with pytest.raises(ValueError, match="request_timeout"):
        BigQuerySettings(request_timeout=seconds)


@pytest.mark.parametrize(
    ("value", "endpoint"),
    [
        ("http://localhost:9050", "http://localhost:9050"),
        ("http://localhost:9050/", "http://localhost:9050"),
        ("https://emulator.example", "https://emulator.example"),
        ("localhost:9050", "http://localhost:9050"),
        ("", None),
        (" ", None),
    ],
)
def test_the_emulators_address_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, endpoint: str | None
) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", value)
    assert emulator_endpoint() == endpoint


def test_an_emulators_address_that_is_none_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "ftp://x")
    with pytest.raises(ValueError, match="BIGQUERY_EMULATOR_HOST"):
        BigQueryConnector()
