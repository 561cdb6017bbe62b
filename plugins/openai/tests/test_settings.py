"""What an operator may set, and what not."""

from __future__ import annotations

from typing import Any

import pytest

from connectors_openai import (
    ChatGPTConnector,
    OpenAIBatchConnector,
    OpenAIEmbeddingsConnector,
    OpenAISettings,
)
from connectors_openai.settings import base_url_of


@pytest.mark.parametrize(
    "url", ["", "https://llm.example/v1", "http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:80/v1"]
)
def test_these_are_base_urls(url: str) -> None:
    assert OpenAISettings(base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "llm.example/v1",
        "ftp://llm.example",
        "https://",
        "https://llm.example/v1?key=x",
        "https://llm.example/v1#x",
        "https://user:password@llm.example/v1",
        "https://llm.example:99999/v1",
        "https://[llm/v1",
        "http://llm.example/v1",
    ],
)
def test_these_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url: ") as refused:
        OpenAISettings(base_url=url)
    assert "password" not in str(refused.value)


def test_http_to_another_machine_has_to_be_allowed() -> None:
    assert OpenAISettings(base_url="http://llm.example/v1", allow_http=True).base_url == "http://llm.example/v1"


@pytest.mark.parametrize(
    "values",
    [
        {"answer_timeout": 0.0},
        {"request_timeout": -1.0},
        {"request_timeout": float("nan")},
        {"connections": 0},
        {"organization": "a b"},
        {"project": "a\r\nb"},
        {"search_window": 59.0},
        {"inline_bytes": -1},
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_name(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(values))}: "):
        OpenAISettings(**values)


def test_the_setting_wins_over_the_environment_and_that_over_openais_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert base_url_of(OpenAISettings()) == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "https://env.example/v1/")
    assert base_url_of(OpenAISettings()) == "https://env.example/v1"
    assert base_url_of(OpenAISettings(base_url="https://set.example/v1/")) == "https://set.example/v1"


@pytest.mark.parametrize("kind", [ChatGPTConnector, OpenAIBatchConnector, OpenAIEmbeddingsConnector])
@pytest.mark.parametrize("url", ["nonsense", "http://llm.example/v1"])
def test_a_base_url_of_the_environments_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], url: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ValueError, match=r"^OPENAI_BASE_URL: "):
        kind()
