"""The SDK's requests are counted and traced, as a server's other requests are."""

from __future__ import annotations

import urllib.request

import anyio.to_thread
import pytest

from connectors.client import CallFailed
from connectors.testing.server import ConnectorServer
from connectors_openai import ChatGPTConnector, OpenAISettings
from plugins.openai.tests.conftest import chat_task
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI
from tests.observability.collector import collecting

pytestmark = pytest.mark.anyio

COUNTED = "flyte_connector_platform_requests_total"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_FSEC_FLYTE_OPENAI_API_KEY", KEY)


async def asked(url: str) -> dict[str, float]:
    """One chat of a server's; what its requests were counted as."""
    connector = ChatGPTConnector(OpenAISettings(base_url=f"{url}/v1"))
    async with ConnectorServer(connector, connector_attempts=1) as server, server.client() as client:
        try:
            await client.do(chat_task(), {"message": "Say hello."})
        except CallFailed:
            pass
        page = await anyio.to_thread.run_sync(lambda: fetched(f"http://{server.metrics}/metrics"))
    lines = [line for line in page.splitlines() if line.startswith(f"{COUNTED}{{")]
    return {line.partition('status="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http, and our own
        text: str = answer.read().decode()
        return text


async def test_a_request_is_counted_by_its_status(openai: FakeOpenAI) -> None:
    assert await asked(openai.url) == {"200": 1.0}


async def test_a_refusal_is_counted_by_its_status(openai: FakeOpenAI) -> None:
    openai.refuse("/chat/completions", 429)
    assert await asked(openai.url) == {"429": 1.0}


async def test_a_request_that_reaches_nobody_is_counted_as_such() -> None:
    assert await asked("http://127.0.0.1:1") == {"unreachable": 1.0}


async def test_the_trace_goes_on_to_openai(openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        await asked(openai.url)
        span = collector.one("CLIENT")
    assert span.parent == collector.one("SERVER").span
    assert openai.last().headers["traceparent"].startswith(f"00-{span.trace}-{span.span}-")
