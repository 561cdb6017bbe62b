"""The pooled client against a real HTTP server, and HTTP's statuses as this project's errors."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from connectors import (
    Conflict,
    ConnectorError,
    DeadlineExceeded,
    FailedPrecondition,
    HttpClient,
    HttpResponse,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    error_for_status,
)
from connectors.http import Egress, retry_after_seconds

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


async def test_the_librarys_loading_does_not_hold_the_event_loop() -> None:
    program = """
import asyncio, sys, threading
loaded_by = {}
def note(event, arguments):
    if event == "import":
        loaded_by.setdefault(arguments[0], threading.current_thread())
sys.addaudithook(note)
from connectors import ConnectorError, HttpClient
async def ask(client):
    try:
        await client.request("GET", "http://127.0.0.1:1/")
    except ConnectorError:
        pass
async def main():
    async with HttpClient() as client:
        await asyncio.gather(ask(client), ask(client))
asyncio.run(main())
assert loaded_by["aiohttp.client"] is not threading.main_thread()
"""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], check=True)


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


@pytest.mark.parametrize(
    ("url", "answer", "message"),
    [
        ("http://nosuch.invalid/", b"", "nosuch.invalid could not be reached: its name does not resolve"),
        ("http://127.0.0.1:1/", b"", "127.0.0.1:1 could not be reached: it refused the connection"),
        ("http://{}/", b"", "{} broke off without an answer"),
        ("http://{}/", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "{} broke off in the middle of its answer"),
        ("http://{}/", b"hello there\r\n\r\n", "{} answered with what is no HTTP"),
        ("https://{}/", b"hello there\r\n\r\n", "{} could not be reached: TLS could not be agreed on"),
    ],
    ids=["no name", "refused", "no answer", "cut", "no HTTP", "no TLS"],
)
async def test_why_there_is_no_answer_is_said_in_plain_words(
    http: HttpClient, url: str, answer: bytes, message: str
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(Unavailable) as raised:
            await http.request("GET", url.format(f"{host}:{port}"))
    assert raised.value.message == message.format(f"{host}:{port}")


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


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_not_json_is_unavailable(body: bytes) -> None:
    with pytest.raises(Unavailable, match="not JSON"):
        HttpResponse(200, {}, body).json()


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


# --- the way out


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


class Proxy:
    """Answers what is asked of it as a forward proxy over HTTP, without forwarding, and takes note of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        self.asked.append((lines[0], fields.get("Proxy-Authorization")))
        status = b"403 Forbidden" if lines[0].startswith("CONNECT") else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


BASIC = "Basic bWU6ZmFrZS1wYXNzd29yZA=="  # me:fake-password


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
async def test_the_usual_variable_names_the_proxy(variable: str, no_variables: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with proxy.serving() as place:
        no_variables.setenv(variable, f"http://me:fake-password@{place}")
        async with HttpClient() as client:
            assert (await client.request("GET", "http://platform.invalid/x")).status == 200
    assert proxy.asked == [("GET http://platform.invalid/x HTTP/1.1", BASIC)]


async def test_a_proxy_without_a_scheme_is_one_over_http(no_variables: pytest.MonkeyPatch) -> None:
    no_variables.setenv("HTTPS_PROXY", "proxy.test:3128")
    assert Egress().proxy_for("https://platform.test/") == "http://proxy.test:3128"


async def test_https_goes_through_a_tunnel_and_its_refusal_is_unavailable(no_variables: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with (
        proxy.serving() as place,
        HttpClient(egress=Egress(proxy=f"http://me:fake-password@{place}")) as client,
    ):
        with pytest.raises(Unavailable, match=r"proxy .* platform\.invalid: it answered HTTP 403") as error:
            await client.request("GET", "https://platform.invalid/x")
    assert proxy.asked == [("CONNECT platform.invalid:443 HTTP/1.1", BASIC)]
    assert "fake-password" not in "".join(traceback.format_exception(error.value))


async def test_a_proxy_that_is_away_is_unavailable_and_its_password_is_not_told(
    no_variables: pytest.MonkeyPatch,
) -> None:
    async with Proxy().serving() as place:
        pass
    async with HttpClient(egress=Egress(proxy=f"http://me:fake-password@{place}")) as client:
        with pytest.raises(Unavailable) as error:
            await client.request("GET", "http://platform.invalid/x")
    assert "fake-password" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("given", [None, "http://proxy.test:3128"])
@pytest.mark.parametrize(
    ("url", "straight"),
    [
        ("https://metadata.internal/", True),
        ("https://a.corp.test:8443/", True),
        ("http://127.0.0.1:8080/", True),
        ("http://[::1]:8080/", True),
        ("https://corp.test.example/", False),
        ("https://platform.test/", False),
    ],
)
def test_hosts_in_no_proxy_are_asked_straight(
    url: str, given: str | None, *, straight: bool, no_variables: pytest.MonkeyPatch
) -> None:
    for scheme in ("HTTP", "HTTPS"):
        no_variables.setenv(f"{scheme}_PROXY", "http://variable.test:3128")
    no_variables.setenv("NO_PROXY", "metadata.internal,.corp.test,127.0.0.1,[::1]")
    wanted = None if straight else given or "http://variable.test:3128"
    assert Egress(proxy=given).proxy_for(url) == wanted


def test_a_variable_that_names_no_http_proxy_is_told_by_its_name(no_variables: pytest.MonkeyPatch) -> None:
    no_variables.setenv("HTTPS_PROXY", "socks5://me:fake-password@proxy.test:1080")
    with pytest.raises(FailedPrecondition, match="HTTPS_PROXY") as error:
        Egress().proxy_for("https://platform.test/")
    assert "fake-password" not in str(error.value)


async def test_an_address_behind_a_proxy_is_asked_about_and_a_name_is_the_proxys(
    no_variables: pytest.MonkeyPatch,
) -> None:
    proxy = Proxy()
    async with (
        proxy.serving() as place,
        HttpClient(egress=Egress(proxy=f"http://{place}"), admits=lambda address: False) as client,
    ):
        with pytest.raises(PermissionDenied):
            await client.request("GET", "http://10.0.0.1/x")
        assert (await client.request("GET", "http://platform.invalid/x")).status == 200
    assert [line for line, _ in proxy.asked] == ["GET http://platform.invalid/x HTTP/1.1"]


async def test_what_a_netrc_holds_is_sent_to_nobody(tmp_path: Path, no_variables: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login me password fake-password\n", "utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    no_variables.setenv("NETRC", str(tmp_path / ".netrc"))
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    async with serving(handler) as url, HttpClient() as client:
        await client.request("GET", url)
    assert seen == [None]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ("[fe80::1%25eth0]", "fe80::1"),
    ],
)
async def test_an_address_is_asked_about_in_its_shortest_form(host: str, shown: str) -> None:
    asked: list[str] = []

    def admits(address: str) -> bool:
        asked.append(address)
        return False

    async with HttpClient(admits=admits) as client:
        with pytest.raises(PermissionDenied):
            await client.request("GET", f"http://{host}:9/")
    assert asked == [shown]


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0x7f.1", "127.0.0.1.", "017700000001"])
async def test_what_a_resolver_would_take_for_an_address_is_no_host(host: str) -> None:
    async with HttpClient(admits=lambda address: True) as client:
        with pytest.raises(InvalidRequest):
            await client.request("GET", f"http://{host}:9/")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, which signed itself, and its key."""
    folder = tmp_path_factory.mktemp("authority")
    certificate, key = folder / "ca.pem", folder / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@asynccontextmanager
async def serving_tls(authority: tuple[Path, Path]) -> AsyncIterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority)

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_a_private_authority_is_trusted_where_its_file_is_named(authority: tuple[Path, Path]) -> None:
    async with serving_tls(authority) as url:
        async with HttpClient() as client:
            with pytest.raises(Unavailable, match="its TLS certificate is not one that is trusted"):
                await client.request("GET", url)
        async with HttpClient(egress=Egress(ca_file=str(authority[0]))) as client:
            assert (await client.request("GET", url)).status == 200


async def test_a_private_authority_is_trusted_where_the_usual_variable_names_it(authority: tuple[Path, Path]) -> None:
    ask = "\n".join(
        [
            "import asyncio, sys",
            "from connectors import HttpClient",
            "async def main():",
            "    async with HttpClient() as client:",
            "        print((await client.request('GET', sys.argv[1])).status)",
            "asyncio.run(main())",
        ]
    )
    async with serving_tls(authority) as url:
        asking = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ask, url),
            env={**os.environ, "SSL_CERT_FILE": str(authority[0])},
            stdout=asyncio.subprocess.PIPE,
        )
        answer, _ = await asking.communicate()
    assert answer == b"200\n"


@pytest.mark.parametrize(("content", "text"), [(None, "cannot be read"), ("no PEM", "holds no certificates")])
def test_a_file_that_holds_no_authority_is_named(content: str | None, text: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, "utf-8")
    with pytest.raises(FailedPrecondition, match=rf"ca\.pem {text}"):
        Egress(ca_file=str(file)).ssl_context()
