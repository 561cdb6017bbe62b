"""The status page, as any HTTP client gets it."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors import TaskCategory, TaskTemplate
from connectors._engine.events import CallEvent
from connectors._engine.options import EngineOptions
from connectors._observability.status_page import StatusPage
from connectors._observability.status_page.tables import age, clock
from connectors.client import ConnectorClient
from connectors.http import HttpClient
from connectors.models import TaskLog
from connectors.secrets import remember
from connectors.testing.fixtures import Serve
from tests.status_page.connectors import Slow, Warehouse, run

pytestmark = pytest.mark.anyio

QUERY = TaskCategory(Warehouse.task_type)
EVENT = CallEvent(operation="get", task_type="t", protocol="flyte1", status="OK", seconds=0.1)


async def create(client: ConnectorClient, **more: Any) -> bytes:
    return await client.create(TaskTemplate(QUERY.name), {"v": "an input of the task"}, metadata=run("f1"), **more)


async def view(http: HttpClient, address: str) -> Any:
    answer = await http.request("GET", f"http://{address}/status.json")
    assert answer.status == 200
    return json.loads(answer.text())


async def texts(http: HttpClient, address: str, table: str) -> list[list[str]]:
    found = await view(http, address)
    return [[cell["text"] for cell in row["cells"]] for row in found["tables"][table]]


def page(state: Callable[[], str] = lambda: "ready", fault: Callable[[], str] = lambda: "") -> StatusPage:
    return StatusPage(version="1.2.3", store="memory://", options=EngineOptions(), state=state, fault=fault)


def shown(of: StatusPage) -> Any:
    return json.loads(of.pages()["/status.json"]({}).body)


async def test_there_is_none_unless_it_is_asked_for(serve: Serve, http: HttpClient) -> None:
    server = await serve(Warehouse())
    for path in ("/", "/status.json"):
        assert (await http.request("GET", f"http://{server.metrics}{path}")).status == 404


async def test_the_other_pages_are_still_there(serve: Serve, http: HttpClient) -> None:
    server = await serve(Warehouse(), status_page=True)
    for path in ("/metrics", "/healthz", "/readyz"):
        assert (await http.request("GET", f"http://{server.metrics}{path}")).status == 200


async def test_its_policy_allows_nothing_that_is_inline_but_by_hash(serve: Serve, http: HttpClient) -> None:
    server = await serve(Warehouse(), status_page=True)
    answer = await http.request("GET", f"http://{server.metrics}/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy


async def test_page_and_json_say_the_same(serve: Serve, http: HttpClient) -> None:
    server = await serve(Warehouse(), Slow(), status_page=True)
    async with server.client() as client:
        await client.get(QUERY, await create(client))
    document = (await http.request("GET", f"http://{server.metrics}/")).text()
    calls = document.partition('<section id="calls"')[2]
    written = [
        [html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall("<td[^>]*>(.*?)</td>", row)]
        for row in re.findall("<tr[^>]*data-key[^>]*>(.*?)</tr>", calls)
    ]
    assert len(written) == 2
    assert written == await texts(http, server.metrics, "calls")


async def test_inputs_and_metas_are_not_shown(serve: Serve, http: HttpClient) -> None:
    server = await serve(Warehouse(), status_page=True)
    async with server.client() as client:
        meta = await create(client)
        await client.get(QUERY, meta)
    document = (await http.request("GET", f"http://{server.metrics}/")).text()
    assert "an input of the task" not in document
    assert html.escape(meta.decode()) not in document


async def test_secrets_are_taken_out_of_messages_links_and_names(serve: Serve, http: HttpClient) -> None:
    secret = "an-invented-password-of-42-letters"
    remember(secret)
    warehouse = Warehouse()
    server = await serve(warehouse, status_page=True, connector_attempts=1)
    async with server.client() as client:
        meta = await client.create(TaskTemplate(QUERY.name), {}, metadata=run(f"f-{secret}"))
        warehouse.link = f"https://warehouse.example/?token={secret}"
        await client.get(QUERY, meta)
        warehouse.fault = "x" * 280 + secret  # a cut must not leave a part of it
        await client.get(QUERY, meta)
    for path in ("/", "/status.json"):
        told = (await http.request("GET", f"http://{server.metrics}{path}")).text()
        assert "f-[secret]" in told
        assert secret[:10] not in told


async def test_a_repeated_create_is_told_from_the_first(serve: Serve, http: HttpClient) -> None:
    server = await serve(Warehouse(), status_page=True)
    async with server.client() as client:
        for _ in range(2):
            await create(client, idempotency_key="one")
    repeat, first = await texts(http, server.metrics, "calls")
    assert (repeat[5], first[5]) == ("repeated", "1")


async def test_a_paused_connector_is_shown_as_such(serve: Serve, http: HttpClient, tmp_path: Path) -> None:
    paused = tmp_path / "paused"
    paused.write_text(f"{QUERY.name}\n")
    server = await serve(Warehouse(), Slow(), status_page=True, paused_file=paused)
    assert [row[3] for row in await texts(http, server.metrics, "connectors")] == ["served", "paused"]


def test_the_last_200_calls_and_20_faults_are_kept() -> None:
    kept = page()
    for _ in range(30):
        kept.observe(dataclasses.replace(EVENT, status="UNAVAILABLE", error="Unavailable"))
    for _ in range(500):
        kept.observe(EVENT)
    tables = shown(kept)["tables"]
    assert (len(tables["calls"]), len(tables["faults"])) == (200, 20)
    assert tables["calls"][0]["key"] == "530"


def test_what_is_kept_of_a_call_is_small_however_large_the_call_is() -> None:
    kept = page()
    large = dataclasses.replace(
        EVENT,
        operation="x" * 10_000,
        status="UNAVAILABLE",
        error="Unavailable",
        message="x" * 100_000,
        meta=b"x" * 4_000_000,
        log_links=(TaskLog("https://x/" + "x" * 1_000_000, "x"),),
    )
    large_call = large.meta
    before = sys.getrefcount(large_call)
    for _ in range(200):
        kept.observe(large)
    assert sys.getrefcount(large_call) == before
    assert len(kept.pages()["/status.json"]({}).body) < 400_000


@pytest.mark.parametrize("state", ["starting", "draining", "closing"])
def test_it_is_there_while_the_server_starts_and_ends(state: str) -> None:
    there = page(state=lambda: state)
    assert f">{state}</span>" in there.pages()["/"]({}).body.decode()
    assert shown(there)["state"]["text"] == state


def test_a_server_that_is_degraded_says_why() -> None:
    degraded = shown(page(fault=lambda: "degraded: the idempotency store is out of reach for 5 s"))
    assert degraded["state"] == {"text": "degraded: the idempotency store is out of reach for 5 s", "tone": "warn"}


def test_an_answer_is_made_once_for_all_who_ask_within_half_a_second() -> None:
    made: list[str] = []

    def state() -> str:
        made.append("ready")
        return "ready"

    there = page(state=state)
    for _ in range(500):
        shown(there)
    assert len(made) < 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_ages_are_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_time_of_another_day_has_its_date() -> None:
    now = 1_760_000_000.0
    assert clock(now - 1, now) == "08:53:19"
    assert clock(now - 86_400, now) == "2025-10-08 08:53:20"
