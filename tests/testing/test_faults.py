"""The fault proxy, over real HTTP: what it forwards, what it spoils, and what it sees."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from connectors import DeadlineExceeded, HttpClient, Unavailable
from connectors.testing.faults import Fault, FaultProxy, ForeignHost, Route

pytestmark = pytest.mark.anyio


class Backend:
    """Answers with what it was sent, and counts."""

    def __init__(self) -> None:
        self.arrived: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.arrived.append(request)
        if request.path == "/packed" and "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=gzip.compress(request.path.encode()), headers={"Content-Encoding": "gzip"})
        if request.path == "/elsewhere":
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
        headers = {"X-Sent": request.headers.get("X-Sent", ""), "X-Path": request.raw_path}
        return web.Response(status=201, headers=headers, body=await request.read())


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", backend.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    backend.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield backend
    await runner.cleanup()


@pytest.fixture
async def proxy(backend: Backend) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(backend.url) as proxy:
        yield proxy


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


async def exchange(proxy: FaultProxy, request: bytes) -> bytes:
    """What comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


# --- without faults


async def test_a_request_and_its_answer_go_through_as_they_are(http: HttpClient, proxy: FaultProxy) -> None:
    url = f"{proxy.url}/a%2Fb/c?x=1%262"
    answer = await http.request("PUT", url, headers={"X-Sent": "1"}, body=b"\x00body")
    assert (answer.status, answer.body, answer.headers["X-Sent"]) == (201, b"\x00body", "1")
    assert answer.headers["X-Path"] == "/a%2Fb/c?x=1%262"


async def test_a_path_of_the_backends_url_comes_first(http: HttpClient, backend: Backend) -> None:
    async with FaultProxy(f"{backend.url}/api/") as proxy:
        assert (await http.request("GET", f"{proxy.url}/jobs")).headers["X-Path"] == "/api/jobs"


async def test_the_backend_is_asked_under_its_own_name(http: HttpClient, proxy: FaultProxy, backend: Backend) -> None:
    await http.request("GET", proxy.url)
    assert f"http://{backend.arrived[0].headers['Host']}" == backend.url


async def test_a_redirect_is_the_callers_to_follow(http: HttpClient, proxy: FaultProxy) -> None:
    assert (await http.request("GET", f"{proxy.url}/elsewhere")).status == 302


async def test_a_path_goes_through_as_it_was_written(proxy: FaultProxy) -> None:
    answer = await exchange(proxy, b"GET /a%41/..//%2e?x=%41 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"X-Path: /a%41/..//%2e?x=%41" in answer


async def test_a_backend_that_is_not_there_is_a_bad_gateway(http: HttpClient) -> None:
    async with ForeignHost() as closes, FaultProxy(f"http://{closes.address}") as proxy:
        assert (await http.request("GET", proxy.url)).status == 502


async def test_each_request_is_recorded(http: HttpClient, proxy: FaultProxy) -> None:
    before = asyncio.get_running_loop().time()
    await http.request("POST", f"{proxy.url}/jobs?key=1", headers={"X-Sent": "1"}, body=b"b")
    (seen,) = proxy.seen(Route("POST", "/jobs"))
    assert (seen.method, seen.path, seen.query, seen.body) == ("POST", "/jobs", {"key": "1"}, b"b")
    assert seen.headers["x-sent"] == "1"
    assert before <= seen.at <= asyncio.get_running_loop().time()
    assert proxy.seen(Route("GET")) == proxy.seen(Route("POST", "/job")) == []


# --- faults


async def test_an_answer_in_the_platforms_place_does_not_reach_it(
    http: HttpClient, proxy: FaultProxy, backend: Backend
) -> None:
    proxy.set_fault(Fault("answer", status=429, headers={"Retry-After": "3"}, body=b"slow down", times=1))
    answer = await http.request("GET", proxy.url)
    assert (answer.status, answer.headers["Retry-After"], answer.body) == (429, "3", b"slow down")
    assert backend.arrived == []
    assert (await http.request("GET", proxy.url)).status == 201


async def test_an_answers_body_may_depend_on_the_request(http: HttpClient, proxy: FaultProxy) -> None:
    proxy.set_fault(Fault("answer", status=400, body=lambda request: request.method.encode()))
    assert (await http.request("GET", proxy.url)).body == b"GET"


@pytest.mark.parametrize("committed", [True, False])
async def test_a_lost_answer_is_one_to_a_request_that_was_carried_out_or_not(
    http: HttpClient, proxy: FaultProxy, backend: Backend, *, committed: bool
) -> None:
    proxy.set_fault(Fault("lose", committed=committed))
    with pytest.raises(Unavailable):
        await http.request("POST", proxy.url)
    assert len(backend.arrived) == committed


@pytest.mark.parametrize("sent", [b"a whole body", b""])
async def test_a_cut_answer_has_a_head_and_not_all_of_its_body(
    proxy: FaultProxy, backend: Backend, sent: bytes
) -> None:
    proxy.set_fault(Fault("cut"))
    request = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(sent), sent)
    head, _, body = (await exchange(proxy, request)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201")
    assert b"Content-Length: %d" % (len(sent) + 1) in head
    assert body == sent[: len(sent) // 2]
    assert len(backend.arrived) == 1


async def test_a_cut_answer_is_an_error_of_the_projects_client(http: HttpClient, proxy: FaultProxy) -> None:
    proxy.set_fault(Fault("cut"))
    with pytest.raises(Unavailable):
        await http.request("PUT", proxy.url, body=b"a whole body")


async def test_an_answer_is_rewritten_in_the_clear(http: HttpClient, proxy: FaultProxy) -> None:
    proxy.set_fault(Fault("rewrite", rewrite=bytes.upper))
    assert (await http.request("GET", f"{proxy.url}/packed", body=b"packed")).body == b"PACKED"


async def test_a_rewritten_answer_keeps_its_status(http: HttpClient, proxy: FaultProxy) -> None:
    proxy.set_fault(Fault("rewrite", rewrite=bytes.upper))
    answer = await http.request("PUT", proxy.url, body=b"body")
    assert (answer.status, answer.body) == (201, b"BODY")


async def test_a_slow_answer_comes_after_its_delay(http: HttpClient, proxy: FaultProxy) -> None:
    loop = asyncio.get_running_loop()
    proxy.set_fault(Fault("slow", delay=60))
    before = loop.time()
    assert (await http.request("GET", proxy.url, timeout=90)).status == 201
    assert 60 <= loop.time() - before < 61


async def test_a_slow_request_may_meet_another_fault(http: HttpClient, proxy: FaultProxy) -> None:
    proxy.set_fault(Fault("slow", delay=60), Fault("answer", status=500))
    with pytest.raises(DeadlineExceeded):
        await http.request("GET", proxy.url, timeout=59)
    assert (await http.request("GET", proxy.url, timeout=61)).status == 500


async def test_a_hanging_request_is_open_until_its_caller_gives_up(http: HttpClient, proxy: FaultProxy) -> None:
    proxy.set_fault(Fault("hang"))
    call = asyncio.create_task(http.request("GET", f"{proxy.url}/x", timeout=3600))
    await proxy.until_open(Route("GET", "/x"))
    assert proxy.in_flight == 1
    with pytest.raises(TimeoutError):
        await proxy.until_idle(within=60)
    call.cancel()
    await proxy.until_idle()
    assert proxy.in_flight == 0


async def test_a_hanging_request_ends_with_the_proxy(http: HttpClient, backend: Backend) -> None:
    async with FaultProxy(backend.url) as proxy:
        proxy.set_fault(Fault("hang"))
        call = asyncio.create_task(http.request("GET", proxy.url, timeout=3600))
        await proxy.until_open()
        before = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await call
    assert asyncio.get_running_loop().time() - before < 1


async def test_a_request_that_never_comes_is_not_waited_for_without_end(proxy: FaultProxy) -> None:
    with pytest.raises(TimeoutError):
        await proxy.until_open(within=60)


async def test_a_fault_is_for_its_requests_alone(http: HttpClient, proxy: FaultProxy) -> None:
    fault = Fault("answer", Route("POST", "/jobs/[0-9]+"), status=500)
    proxy.set_fault(fault)
    paths = [("POST", "/jobs/1"), ("GET", "/jobs/1"), ("POST", "/jobs/1/x"), ("POST", "/jobs/2?y=1")]
    statuses = [(await http.request(method, proxy.url + path)).status for method, path in paths]
    assert statuses == [500, 201, 201, 500]
    assert proxy.faults() == [(fault, 2)]


async def test_a_fault_ends_with_its_time_or_when_it_is_cleared(http: HttpClient, proxy: FaultProxy) -> None:
    async def status() -> int:
        return (await http.request("GET", proxy.url)).status

    proxy.set_fault(Fault("answer", status=500, seconds=60))
    assert await status() == 500
    await asyncio.sleep(60)  # of virtual time
    assert await status() == 201
    proxy.set_fault(Fault("answer", status=500))
    proxy.clear_faults()
    assert await status() == 201


def test_a_fault_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="one of answer, lose"):
        Fault("explode")  # type: ignore[arg-type]


# --- the foreign host


async def test_a_foreign_host_counts_who_comes(http: HttpClient) -> None:
    async with ForeignHost() as host:
        assert host.connections == 0
        with pytest.raises(Unavailable):
            await http.request("POST", f"http://{host.address}")
        assert host.connections == 1
