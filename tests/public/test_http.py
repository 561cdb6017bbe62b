"""The pooled client against a real HTTP server, and HTTP's statuses as this project's errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web

from connectors import (
    Conflict,
    ConnectorError,
    DeadlineExceeded,
    FailedPrecondition,
    HttpClient,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    error_for_status,
)
from connectors.http import retry_after_seconds

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def answering(response: web.Response) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return response

    return handler


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient(max_body_bytes=1_000) as client:
        yield client


async def test_the_whole_answer_is_read_whatever_its_status(http: HttpClient) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"got": await request.json(), "q": request.query["q"]}, status=404)

    async with serving(handler) as url:
        answer = await http.request("POST", f"{url}/x", json={"a": 1}, params={"q": "ä&"})
    assert answer.status == 404
    assert answer.json() == {"got": {"a": 1}, "q": "ä&"}
    assert answer.headers["content-type"].startswith("application/json")


async def test_redirects_are_not_followed(http: HttpClient) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:9/elsewhere")

    async with serving(handler) as url:
        assert (await http.request("GET", url)).status == 302


async def test_one_connection_serves_many_requests(http: HttpClient) -> None:
    ports: set[int] = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response()

    async with serving(handler) as url:
        for _ in range(5):
            await http.request("GET", url)
    assert len(ports) == 1


async def test_no_answer_in_time_is_deadline_exceeded(http: HttpClient) -> None:
    over = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with serving(handler) as url:
        with pytest.raises(DeadlineExceeded, match=r"127\.0\.0\.1"):
            await http.request("GET", url, timeout=0.05)
        over.set()


async def test_a_closed_port_is_unavailable(http: HttpClient) -> None:
    async with serving(answering(web.Response())) as url:
        pass
    with pytest.raises(Unavailable, match="could not be reached"):
        await http.request("GET", url)


async def test_an_answer_that_is_cut_is_unavailable(http: HttpClient) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(handler) as url:
        with pytest.raises(Unavailable):
            await http.request("GET", url)


async def test_an_answer_over_the_bound_is_unavailable(http: HttpClient) -> None:
    async with serving(answering(web.Response(body=b"x" * 1_001))) as url:
        with pytest.raises(Unavailable, match="1000 bytes"):
            await http.request("GET", url)


async def test_a_body_that_is_not_json_is_unavailable(http: HttpClient) -> None:
    async with serving(answering(web.Response(text="<html>"))) as url:
        answer = await http.request("GET", url)
    with pytest.raises(Unavailable, match="not JSON"):
        answer.json()


async def test_what_is_no_url_is_an_invalid_request(http: HttpClient) -> None:
    with pytest.raises(InvalidRequest):
        await http.request("GET", "no url at all")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthenticated),
        (403, PermissionDenied),
        (404, NotFound),
        (408, Unavailable),
        (409, Conflict),
        (412, FailedPrecondition),
        (418, InvalidRequest),
        (429, RateLimited),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_each_status_is_its_error(status: int, kind: type[ConnectorError]) -> None:
    error = error_for_status(status, "told")
    assert type(error) is kind
    assert error.message == "told"


def test_a_status_carries_its_retry_after() -> None:
    assert error_for_status(429, "told", {"Retry-After": "7"}).retry_after == 7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("99999999999", 86_400),
        ("Sun, 01 Nov 2026 10:00:30 GMT", 30),
        ("Sun, 01 Nov 2026 09:00:00 GMT", 0),
        ("Sunday, 01-Nov-26 10:00:30 GMT", 30),
        ("²", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, now=datetime(2026, 11, 1, 10, tzinfo=UTC)) == seconds


async def test_an_address_that_is_not_admitted_gets_no_request() -> None:
    asked: list[str] = []
    requests: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        requests.append(request.path)
        return web.Response()

    def admits(address: str) -> bool:
        asked.append(address)
        return False

    async with serving(handler) as url, HttpClient(admits=admits) as client:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(PermissionDenied, match=host):
                await client.request("GET", url.replace("127.0.0.1", host))
    assert requests == []
    assert "127.0.0.1" in asked


async def test_an_address_that_is_admitted_is_connected_to_by_name_and_by_number() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response()

    async with serving(handler) as url, HttpClient(admits=lambda address: address == "127.0.0.1") as client:
        for host in ("127.0.0.1", "localhost"):
            assert (await client.request("GET", url.replace("127.0.0.1", host))).status == 200
