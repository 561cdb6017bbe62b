"""The frame of hand-written stand-ins: what it serves, and what it tells of what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from aiohttp import web

from connectors import HttpClient, Unavailable
from connectors.testing.fixtures import http
from connectors.testing.stand_in import StandIn

__all__ = ["http"]

pytestmark = pytest.mark.anyio


class FakeAcme(StandIn):
    def __init__(self) -> None:
        super().__init__()
        self.is_asked = asyncio.Event()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post("/v1/jobs", self._create), web.get("/v1/never", self._never)]

    async def _create(self, request: web.Request) -> web.Response:
        self.note("create", request, await request.json())
        return web.json_response({"id": f"job-{self.count('create')}"})

    async def _never(self, request: web.Request) -> web.Response:
        self.is_asked.set()
        await asyncio.Event().wait()
        return web.Response()


@pytest.fixture
async def acme() -> AsyncIterator[FakeAcme]:
    async with FakeAcme().serving() as acme:
        yield acme


async def test_it_serves_the_routes_of_its_class(acme: FakeAcme, http: HttpClient) -> None:
    made = await http.request("POST", f"{acme.url}/v1/jobs", json={}, timeout=5)
    other = await http.request("GET", f"{acme.url}/v1/others", timeout=5)
    assert (made.json(), other.status) == ({"id": "job-1"}, 404)


async def test_it_tells_what_it_was_asked(acme: FakeAcme, http: HttpClient) -> None:
    for number in (1, 2):
        await http.request(
            "POST", f"{acme.url}/v1/jobs", params={"n": str(number)}, headers={"X-Key": "k"}, json=[number], timeout=5
        )
    last = acme.last("create")
    assert acme.count("create") == len(acme.calls) == 2
    assert (last.path, last.query, last.headers["x-key"], last.body) == ("/v1/jobs", {"n": "2"}, "k", [2])


async def test_what_nobody_asked_for_is_told(acme: FakeAcme) -> None:
    assert acme.count("create") == 0
    with pytest.raises(LookupError, match="nobody asked for 'create'"):
        acme.last("create")


async def test_each_has_a_port_of_its_own(acme: FakeAcme) -> None:
    async with FakeAcme().serving() as other:
        assert other.url != acme.url
        assert acme.url.startswith("http://127.0.0.1:")


async def test_its_end_waits_for_no_answer(http: HttpClient) -> None:
    async with asyncio.timeout(10), FakeAcme().serving() as acme:
        asking = asyncio.create_task(http.request("GET", f"{acme.url}/v1/never", timeout=60))
        await acme.is_asked.wait()
    with pytest.raises(Unavailable):
        await asking
