"""The status page of a real server, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors import PermissionDenied, Phase, TaskCategory, TaskTemplate
from connectors.client import CallFailed, ConnectorClient
from connectors.testing.fixtures import Serve
from connectors.testing.server import ConnectorServer
from tests.status_page.browser import Tab
from tests.status_page.connectors import NOT_STARTED, Broken, Slow, Warehouse, run

pytestmark = pytest.mark.anyio

Keep = Callable[[str, bytes], None]
QUERY = TaskCategory(Warehouse.task_type)
HOSTILE = """<script>pwned = 1</script>"'><img src=x onerror=pwned=1>&lt;${pwned=1}"""
PHONE = {"width": 390, "height": 844, "is_phone": True}
ROWS = "[...document.querySelectorAll('#{} tbody tr')]"
"""The rows of a table of the page."""


def rows(table: str) -> str:
    """What the cells of a table say, as JavaScript finds it: a list of texts a row."""
    return f"{ROWS.format(table)}.map(row => [...row.cells].map(cell => cell.textContent))"


def url(server: ConnectorServer) -> str:
    return f"http://{server.metrics}/"


async def create(client: ConnectorClient, execution: str = "f1") -> bytes:
    return await client.create(
        TaskTemplate(QUERY.name), {}, output_prefix=f"s3://b/{execution}/n0/0", metadata=run(execution)
    )


async def see(tab: Tab, table: str, text: str) -> list[list[str]]:
    """The table's rows, once one of them says ``text`` somewhere."""
    await tab.value(f"wanted = {text!r}")
    found: list[list[str]] = await tab.until(
        f"{rows(table)}.some(row => row.join(' ').includes(wanted)) && {rows(table)}"
    )
    return found


@asynccontextmanager
async def busy_server(serve: Serve) -> AsyncIterator[ConnectorServer]:
    """A server of which there is something to be seen."""
    warehouse, slow = Warehouse(), Slow()
    server = await serve(warehouse, slow, Broken(), status_page=True, strict_plugins=False, connector_attempts=2)
    async with server.client() as client:
        under_way = asyncio.create_task(client.do(TaskTemplate(slow.task_type), {}))
        running, done, deleted = [await create(client, run) for run in ("f7d2c9a1b5e3", "f3e8d2b7a6c5", "fb1c2d3e4f5a")]
        await create(client, "f7d2c9a1b5e3")
        await client.get(QUERY, running)
        await client.delete(QUERY, deleted)
        warehouse.phase = Phase.SUCCEEDED
        await client.get(QUERY, done)
        warehouse.refusal = PermissionDenied("the service account may not run jobs in project analytics-prod")
        with pytest.raises(CallFailed):
            await create(client, "f0aa11bb22cc")
        with pytest.raises(CallFailed):
            await client.get(TaskCategory("spark"), b"{}")
        warehouse.fault = "the warehouse answered 503: overloaded"
        await client.get(QUERY, running)
        yield server
        slow.go_on.set()
        await under_way


async def test_a_call_appears_on_a_page_that_is_open(serve: Serve, tab: Tab) -> None:
    server = await serve(Warehouse(), status_page=True)
    await tab.open(url(server))
    assert await tab.value("document.querySelector('#calls .empty').checkVisibility()")
    await tab.value("this.same_page = true")
    async with server.client() as client:
        meta = await create(client)
        await client.get(QUERY, meta)
    (get, created) = await see(tab, "calls", "get")
    assert created[1:4] == ["create", "warehouse_query", "OK"]
    assert created[7] == "flytesnacks/development/f1/n0/0"
    assert get[1:4] == ["get", "warehouse_query", "RUNNING"]
    assert get[8] == "open"
    assert await tab.value("document.querySelector('#calls a').href") == Warehouse().link
    assert await tab.value("this.same_page")
    assert not await tab.value("document.querySelector('#calls .empty').checkVisibility()")


async def test_what_is_shown_already_stays_the_same_node(serve: Serve, tab: Tab) -> None:
    server = await serve(Warehouse(), status_page=True)
    async with server.client() as client:
        meta = await create(client)
        await client.get(QUERY, meta)
        await tab.open(url(server))
        await tab.value("row = document.querySelector('#calls tbody tr'); link = row.querySelector('a'); link.focus()")
        await client.delete(QUERY, meta)
    await see(tab, "calls", "delete")
    assert await tab.value("row.isConnected && row === document.querySelectorAll('#calls tbody tr')[1]")
    assert await tab.value("document.activeElement === link")


async def test_texts_of_callers_and_platforms_stay_texts(serve: Serve, tab: Tab) -> None:
    warehouse = Warehouse()
    server = await serve(warehouse, status_page=True, connector_attempts=1)
    async with server.client() as client:
        meta = await create(client, HOSTILE)
        warehouse.fault = HOSTILE
        await client.get(QUERY, meta)
        await tab.open(url(server))
        by_server = await see(tab, "calls", HOSTILE)
        warehouse.refusal = PermissionDenied(HOSTILE)
        with pytest.raises(CallFailed):
            await create(client, f"again {HOSTILE}")
    by_script = await see(tab, "calls", f"again {HOSTILE}")
    assert by_script[1:] == by_server
    assert by_script[0][6] == f"PermissionDenied: {HOSTILE}"
    assert by_script[0][7] == f"flytesnacks/development/again {HOSTILE}/n0/0"
    assert await tab.value("[...document.scripts].length") == 1
    assert await tab.value("document.images.length") == 0
    assert await tab.value("typeof pwned") == "undefined"
    assert tab.complaints == []


@pytest.mark.parametrize("link", ["javascript:pwned=1", "data:text/html,<script>", "//other.example/", "ftp://x/y"])
async def test_a_link_that_is_not_http_is_none(serve: Serve, tab: Tab, link: str) -> None:
    warehouse = Warehouse()
    warehouse.link = link
    server = await serve(warehouse, status_page=True)
    async with server.client() as client:
        await client.get(QUERY, await create(client))
    await tab.open(url(server))
    assert len(await see(tab, "calls", "RUNNING")) == 2
    assert await tab.value("document.querySelectorAll('#calls a').length") == 0


async def test_the_page_breaks_none_of_its_rules_and_asks_its_own_server_alone(serve: Serve, tab: Tab) -> None:
    async with busy_server(serve) as server:
        await tab.open(url(server))
        for _ in range(2):
            assert (await tab.next_request()).endswith("/status.json")
    assert tab.complaints == []
    own = (url(server), f"{url(server)}status.json", "data:")
    assert [each for each in tab.requests if not each.startswith(own)] == []


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<img src=x onerror=pwned=1>'",
        "document.body.append(Object.assign(document.createElement('script'), {text: 'pwned = 1'}))",
        "document.body.setAttribute('onclick', 'pwned = 1'); document.body.click()",
        "Object.assign(document.createElement('iframe'), {srcdoc: '<script>top.pwned = 1</script>'})",
    ],
)
async def test_markup_that_got_past_the_pages_script_would_not_run(serve: Serve, tab: Tab, attempt: str) -> None:
    server = await serve(Warehouse(), status_page=True)
    await tab.open(url(server))
    refused = await tab.value(f"(() => {{ try {{ {attempt} }} catch (error) {{ return error.message }} }})()")
    assert "requires 'Trusted" in refused
    assert await tab.value("typeof pwned") == "undefined"


async def test_a_platform_that_cannot_be_asked_is_shown_until_it_answers(serve: Serve, tab: Tab) -> None:
    warehouse = Warehouse()
    server = await serve(warehouse, status_page=True, connector_attempts=1)
    async with server.client() as client:
        meta = await create(client)
        warehouse.fault = "overloaded"
        await client.get(QUERY, meta)
        await tab.open(url(server))
        ((task_type, jobs, _, fault),) = await see(tab, "shielded", QUERY.name)
        assert (task_type, jobs, fault) == (QUERY.name, "1", "Unavailable: overloaded")
        warehouse.fault = ""
        await client.get(QUERY, meta)
    await tab.until("document.querySelector('#shielded .empty').checkVisibility()")


async def test_calls_in_flight_are_shown_with_their_connector(serve: Serve, tab: Tab) -> None:
    slow = Slow()
    server = await serve(slow, status_page=True, connector_concurrency=1)
    async with server.client() as client:
        call = asyncio.create_task(client.do(TaskTemplate(slow.task_type), {}))
        await tab.open(url(server))
        ((task_type, _, kind, state, in_flight, taken, *_),) = await see(tab, "connectors", "1 do")
        assert (task_type, kind, state) == ("slow@0", "sync", "served")
        assert (in_flight, taken) == ("1 do", "1 of 1")
        slow.go_on.set()
        await call
    await tab.until(f"{rows('connectors')}[0].slice(4, 6).join() === ',0 of 1'")


async def test_a_connector_that_could_not_be_started_is_shown_with_the_reason(serve: Serve, tab: Tab) -> None:
    server = await serve(Warehouse(), Broken(), status_page=True, strict_plugins=False)
    await tab.open(url(server))
    failed, served = await see(tab, "connectors", NOT_STARTED)
    assert failed[1] == "broken"
    assert failed[3] == f"failed the connector of broken@0 did not start: ValueError: {NOT_STARTED}"
    assert served[3] == "served"


async def test_a_page_that_is_paused_asks_for_nothing(serve: Serve, tab: Tab) -> None:
    server = await serve(Warehouse(), status_page=True)
    await tab.open(url(server))
    await tab.value("document.getElementById('pause').click()")
    assert await tab.value("document.getElementById('pause').ariaPressed") == "true"
    asked = len(tab.requests)
    await tab.value("new Promise(done => setTimeout(done, 2500))")  # more than the page's own interval
    assert len(tab.requests) == asked
    await tab.value("document.getElementById('pause').click()")
    await tab.next_request()


async def test_a_page_that_nobody_sees_asks_for_nothing(serve: Serve, tab: Tab) -> None:
    server = await serve(Warehouse(), status_page=True)
    await tab.open(url(server))
    other = await tab.send("Target.createTarget", url="about:blank")
    await tab.send("Target.activateTarget", targetId=other["targetId"])
    await tab.until("document.hidden")
    asked = len(tab.requests)
    await tab.value("new Promise(done => setTimeout(done, 2500))")
    assert len(tab.requests) == asked
    await tab.send("Target.closeTarget", targetId=other["targetId"])
    await tab.send("Target.activateTarget", targetId=tab.target)
    await tab.next_request()


async def test_a_page_whose_server_is_gone_says_so_and_keeps_what_it_knew(serve: Serve, tab: Tab, keep: Keep) -> None:
    async with ConnectorServer(Warehouse(), status_page=True) as server:
        async with server.client() as client:
            await create(client)
        await tab.open(url(server))
        await see(tab, "calls", "create")
    said = await tab.until("document.getElementById('notice').textContent")
    assert said.startswith("The server does not answer")
    assert len(await see(tab, "calls", "create")) == 1
    keep("lost", await tab.picture())


async def test_without_scripts_the_page_shows_the_same_and_loads_itself_anew(serve: Serve, tab: Tab) -> None:
    server = await serve(Warehouse(), status_page=True)
    async with server.client() as client:
        await create(client)
        await tab.send("Emulation.setScriptExecutionDisabled", value=True)
        await tab.open(url(server))
    document = await tab.send("DOM.getDocument", depth=-1)
    shown = await tab.send("DOM.getOuterHTML", nodeId=document["root"]["nodeId"])
    assert await tab.next_request() == url(server)
    assert "flytesnacks/development/f1/n0/0" in shown["outerHTML"]
    assert not any(each.endswith("status.json") for each in tab.requests)


@pytest.mark.parametrize("look", [{}, PHONE], ids=["desk", "phone"])
async def test_tables_are_tables_to_a_screen_reader(serve: Serve, tab: Tab, look: dict[str, Any]) -> None:
    await tab.look(**look)
    async with busy_server(serve) as server:
        await tab.open(url(server))
    nodes = (await tab.send("Accessibility.getFullAXTree"))["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node.get("ignored")]
    assert ("table", "Last calls") in found
    assert found.count(("columnheader", "Task type")) == 4
    assert ("cell", "PermissionDenied: the service account may not run jobs in project analytics-prod") in found
    assert ("status", None) in [(role, name or None) for role, name in found]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("look", [{}, PHONE], ids=["desk", "phone"])
async def test_it_fits_its_window_and_can_be_read(
    serve: Serve, tab: Tab, keep: Keep, look: dict[str, Any], dark: bool
) -> None:
    await tab.look(**look, dark=dark)
    async with busy_server(serve) as server:
        await tab.open(url(server))
        picture = await tab.picture()
    keep(f"{'phone' if look else 'desk'}-{'dark' if dark else 'light'}", picture)
    width = look.get("width", 1280)
    assert await tab.value("document.documentElement.scrollWidth") <= width
    assert (
        await tab.value(f"Math.max(...{ROWS.format('calls')}.map(row => row.getBoundingClientRect().right))") <= width
    )
    ratios = await tab.value(CONTRASTS)
    assert len(ratios) > 20
    assert [each for each in ratios if each["ratio"] < 4.5] == []  # WCAG 2.2, 1.4.3


CONTRASTS = """
(() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "white";
  };
  const seen = [...document.querySelectorAll("body *")].filter(
    (each) => each.checkVisibility() && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()),
  );
  return seen.map((each) => {
    const [low, high] = [light(getComputedStyle(each).color), light(ground(each))].sort((a, b) => a - b);
    return { text: each.textContent, ratio: (high + 0.05) / (low + 0.05) };
  });
})()
"""
"""How far text and ground are apart, of each text on the page."""
