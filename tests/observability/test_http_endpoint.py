"""The metrics port, through real sockets and other people's HTTP clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
import pytest

from connectors._observability.http_endpoint import Answer, HttpEndpoint, text

pytestmark = pytest.mark.anyio


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    endpoint = HttpEndpoint(
        {
            "/fine": lambda _: text("fine"),
            "/down": lambda _: text("down", HTTPStatus.SERVICE_UNAVAILABLE),
            "/accept": lambda headers: Answer(headers.get("accept", "none").encode(), "text/x"),
        }
    )
    yield await endpoint.start("127.0.0.1", 0)
    await endpoint.aclose()


async def raw(address: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.fixture
async def client(address: tuple[str, int]) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{address[0]}:{address[1]}") as session:
        yield session


async def test_a_page_is_answered_with_its_status_type_and_body(client: aiohttp.ClientSession) -> None:
    async with client.get("/fine") as answer:
        assert (answer.status, await answer.text()) == (200, "fine\n")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    async with client.get("/down") as answer:
        assert (answer.status, await answer.text()) == (503, "down\n")


async def test_a_query_does_not_change_the_page(client: aiohttp.ClientSession) -> None:
    async with client.get("/fine?x=1") as answer:
        assert answer.status == 200


async def test_a_page_sees_the_requests_headers(client: aiohttp.ClientSession) -> None:
    async with client.get("/accept", headers={"ACCEPT": "text/plain"}) as answer:
        assert await answer.text() == "text/plain"


async def test_a_head_has_the_length_and_no_body(client: aiohttp.ClientSession) -> None:
    async with client.head("/fine") as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, "5", b"")
    async with client.get("/fine") as answer:
        assert await answer.text() == "fine\n"


async def test_an_unknown_page_is_not_found_and_names_the_known_ones(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrcis") as answer:
        assert (answer.status, await answer.text()) == (404, "there is no such page; there are /accept, /down, /fine\n")


async def test_another_method_is_not_allowed(client: aiohttp.ClientSession) -> None:
    async with client.post("/fine", data=b"x") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_a_connection_serves_one_request_after_another(address: tuple[str, int]) -> None:
    first = b"GET /fine HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await raw(address, first + first + first.replace(b"Host: x", b"Connection: close"))
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_body_is_never_taken_for_the_next_request(address: tuple[str, int]) -> None:
    request = b"GET /fine HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET /down HTTP/1.1\r\n\r\n        "
    assert (await raw(address, request)).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "request_line", [b"PRI * HTTP/2.0", b"nonsense", b"GET /fine", b"GET /fine HTTP/1.1\r\nno colon", b"\x16\x03\x01"]
)
async def test_what_is_no_http_is_refused(address: tuple[str, int], request_line: bytes) -> None:
    assert (await raw(address, request_line + b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_head_that_is_too_large_is_refused(address: tuple[str, int]) -> None:
    answer = await raw(address, b"GET /fine HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_leaves_in_the_middle_of_a_request_is_forgotten(address: tuple[str, int]) -> None:
    _, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /fi")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert b" 200 OK" in await raw(address, b"GET /fine HTTP/1.0\r\n\r\n")


async def test_connections_are_bounded() -> None:
    endpoint = HttpEndpoint({"/fine": lambda _: text("fine")})
    address = await endpoint.start("127.0.0.1", 0)
    # Each is accepted, and answers, before the next comes: so the 129th is the first too many.
    open_ones = []
    for _ in range(128):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /fine HTTP/1.1\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        open_ones.append(writer)
    reader, writer = await asyncio.open_connection(*address)
    assert await reader.read() == b""
    for other in (*open_ones, writer):
        other.close()
    await endpoint.aclose()


async def test_closing_ends_idle_connections_and_frees_the_port() -> None:
    endpoint = HttpEndpoint({})
    address = await endpoint.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.readline()
    await endpoint.aclose()
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


async def test_closing_twice_or_before_the_start_is_harmless() -> None:
    endpoint = HttpEndpoint({})
    await endpoint.aclose()
    await endpoint.start("127.0.0.1", 0)
    await endpoint.aclose()
    await endpoint.aclose()


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="address already in use"):
            await HttpEndpoint({}).start(*taken.getsockname())
