"""The proxy: a real HTTP server that forwards to another, and spoils what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from connectors.testing.faults._proxied import EVERY_REQUEST, Fault, ProxiedRequest
from connectors.testing.faults._script import FaultScript

__all__ = ["FaultProxy"]

# RFC 9110 §7.6.1, what frames a message, and the name of the host that was asked. A body that is to be spoilt must be
# in the clear: no encoding is asked for.
_NOT_FORWARDED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_LONGEST_BODY = 64 * 1024 * 1024


class FaultProxy:
    """A proxy on a port of this machine, before one platform.

    Use it as an asynchronous context::

        async with FaultProxy(emulator_url) as proxy:
            proxy.set_fault(Fault("lose", Route("POST", "/jobs"), committed=True, times=1))
            ...  # speak to proxy.url

    It runs on the caller's event loop: a caller that blocks the loop gets no answer.
    """

    def __init__(self, backend: str) -> None:
        """:param backend: the platform's URL; a path in it comes before each request's own."""
        self.requests: list[ProxiedRequest] = []
        """All that came, whatever became of them."""
        self._backend = backend.rstrip("/")
        self._open: list[ProxiedRequest] = []
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._faults: FaultScript[Fault] = FaultScript(lambda: asyncio.get_running_loop().time())
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        app = web.Application(client_max_size=_LONGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Without this a handler would not see that its caller has gone.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    @property
    def url(self) -> str:
        """Where it is served, once it is."""
        return f"http://127.0.0.1:{self._port}"

    # --- what tests ask, and tell it

    def seen(self, requests: Callable[[ProxiedRequest], bool] = EVERY_REQUEST) -> list[ProxiedRequest]:
        """Those of the requests that came."""
        return [each for each in self.requests if requests(each)]

    @property
    def in_flight(self) -> int:
        """How many requests are open: neither answered, nor given up by the caller."""
        return len(self._open)

    async def until_open(
        self, requests: Callable[[ProxiedRequest], bool] = EVERY_REQUEST, *, within: float = 10.0
    ) -> None:
        """Wait for such a request to be open.

        :param within: seconds. :raises TimeoutError: there was none.
        """
        await self._until(lambda: any(requests(each) for each in self._open), within)

    async def until_idle(self, *, within: float = 10.0) -> None:
        """Wait for no request to be open any more.

        :param within: seconds. :raises TimeoutError: one still is.
        """
        await self._until(lambda: not self._open, within)

    def set_fault(self, *faults: Fault) -> None:
        """From now on, after those that are set already."""
        for fault in faults:
            self._faults.add(fault)

    def clear_faults(self) -> None:
        """None from now on; requests that hang go on hanging."""
        self._faults.clear()

    def faults(self) -> list[tuple[Fault, int]]:
        """Those that are set, and how many requests each has met."""
        return self._faults.hits()

    async def _until(self, reached: Callable[[], bool], within: float) -> None:
        async with asyncio.timeout(within):
            while not reached():
                await self._changed.wait()

    # --- for callers

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        arrived = ProxiedRequest(
            request.method,
            request.path,
            dict(request.query),
            request.headers,
            await request.read(),
            asyncio.get_running_loop().time(),
        )
        self.requests.append(arrived)
        self._open.append(arrived)
        self._tell()
        try:
            return await self._answer(request, arrived)
        finally:
            # by identity: equal requests are two all the same
            self._open[:] = [each for each in self._open if each is not arrived]
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(self, request: web.Request, arrived: ProxiedRequest) -> web.StreamResponse:
        delay, fault, _ = self._faults.meet(lambda each: each.requests(arrived))
        if delay:
            await self._wait(delay)
        if fault is None:
            return await self._forward(request, arrived)
        if fault.action in {"cut", "rewrite"} or fault.committed:
            answer = await self._forward(request, arrived)
            if fault.action == "cut":
                return await _cut(request, answer)
            if fault.action == "rewrite":
                answer.body = fault.rewrite(_body(answer))
                return answer
        if fault.action == "answer":
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body_for(arrived))
        if fault.action == "hang":
            await self._wait(None)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # which goes nowhere

    async def _forward(self, request: web.Request, arrived: ProxiedRequest) -> web.Response:
        if self._session is None:
            raise RuntimeError("the proxy is not served")
        try:
            async with self._session.request(
                request.method,
                URL(self._backend + request.raw_path, encoded=True),  # as it came: it may be what a test is about
                headers=_forwarded(request.headers),
                data=arrived.body or None,
                allow_redirects=False,
            ) as answer:
                return web.Response(status=answer.status, headers=_forwarded(answer.headers), body=await answer.read())
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"no answer from the platform: {type(error).__name__}")

    async def _wait(self, seconds: float | None) -> None:
        """Not beyond the proxy's own end."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass


def _forwarded(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _NOT_FORWARDED]


def _body(answer: web.Response) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b""


async def _cut(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """The head says more than what follows."""
    body = _body(answer)
    cut = web.StreamResponse(status=answer.status, headers=answer.headers)
    cut.content_length = len(body) + 1
    await cut.prepare(request)
    await cut.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()  # what was written still goes out
    return cut
