"""The metrics port: a few fixed pages over HTTP/1.1 (RFC 9112), for Prometheus, Kubernetes and people with curl.

It runs on the server's own event loop, so that ``/healthz`` answers only while that loop does. It is no web server:
GET and HEAD, no request bodies, small heads, few connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

__all__ = ["Answer", "HttpEndpoint", "Page", "text"]

_IDLE = 75.0  # seconds that a connection may wait for its next request: longer than a usual scrape interval
_LARGEST_HEAD = 16 * 1024
_CONNECTIONS = 128


@dataclass(frozen=True)
class Answer:
    """What a page says."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further ones, of plain ASCII."""


Page = Callable[[Mapping[str, str]], Answer]
"""Answers a request, given its headers by lower-case name."""


def text(line: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """A line of plain text."""
    return Answer(f"{line}\n".encode(), status=status)


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class HttpEndpoint:
    """Serves pages by path."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = dict(pages)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address, with the port that was taken where ``port`` is 0.

        :raises OSError: it cannot be bound.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=_LARGEST_HEAD)
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def aclose(self) -> None:
        """Stop listening and end all connections. Safe to call twice, and where :meth:`start` was not."""
        if self._server is not None:
            self._server.close()  # wait_closed would wait for idle clients
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a stream server's callback runs in a task
        if len(self._connections) >= _CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (TimeoutError, OSError, asyncio.CancelledError):
            pass  # idle too long, gone, or the endpoint closes: nobody is left to be told
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; returns whether another may follow on this connection."""
        async with asyncio.timeout(_IDLE):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return False
            except asyncio.LimitOverrunError:
                refusal = text("the request's head is too large", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                await _write(writer, refusal, keep=False)
                return False
            try:
                method, path, headers = _parse(head)
                answer, keep = self._answer(method, path, headers), _may_keep(head, headers)
            except _Refused as refused:
                method, answer, keep = "GET", refused.answer, False
            await _write(writer, answer, keep=keep, with_body=method != "HEAD")
            return keep

    def _answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        page = self._pages.get(path.partition("?")[0])
        if page is None:
            return text(f"there is no such page; there are {', '.join(sorted(self._pages))}", HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return text("GET and HEAD only", HTTPStatus.METHOD_NOT_ALLOWED)
        return page(headers)


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise _Refused(text("this is no HTTP/1.1 request; gRPC is served on another port", HTTPStatus.BAD_REQUEST))
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise _Refused(text("a header cannot be read", HTTPStatus.BAD_REQUEST))
        headers[name.lower()] = value.strip()
    return parts[0], parts[1], headers


def _may_keep(head: bytes, headers: Mapping[str, str]) -> bool:
    # A body is not read: whatever follows this head could be one.
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    wants_close = "close" in headers.get("connection", "").lower() or b" HTTP/1.0\r\n" in head
    return not has_body and not wants_close


async def _write(writer: asyncio.StreamWriter, answer: Answer, *, keep: bool, with_body: bool = True) -> None:
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    writer.write(head + answer.body if with_body else head)
    await writer.drain()
