"""One pooled asynchronous HTTP client for all connectors, and HTTP's errors as this project's own.

aiohttp is loaded when the first request is made: a server whose connectors bring their own client does not pay for it.
Proxies and certificate authorities come from the usual variables (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``).
"""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from connectors.errors import (
    Conflict,
    ConnectorError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpClient", "HttpResponse", "error_for_status", "retry_after_seconds"]

_LONGEST_RETRY_AFTER = 24 * 3600.0


@dataclass(frozen=True)
class HttpResponse:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        :raises Unavailable: it is not JSON: a proxy's page, say, or an answer that was cut.
        """
        try:
            return jsonlib.loads(self.body)
        except ValueError as error:
            raise Unavailable(f"the platform answered HTTP {self.status} with a body that is not JSON") from error

    def text(self) -> str:
        """The body as UTF-8 text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")


class HttpClient:
    """A connection pool for the whole process."""

    def __init__(
        self, *, connections: int = 256, max_body_bytes: int = 64 * 1024 * 1024, user_agent: str = "connectors"
    ) -> None:
        """:param connections: open at once, over all hosts. :param max_body_bytes: a longer answer is an error."""
        self._connections = connections
        self._max_body_bytes = max_body_bytes
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> HttpResponse:
        """Send one request and read the whole answer, whatever its status. Redirects are not followed.

        :param timeout: seconds for the whole exchange.
        :raises DeadlineExceeded: no whole answer within ``timeout``; the platform may have carried the request out.
        :raises Unavailable: no answer, or a cut one: the platform may have carried the request out; or a body over the
            limit.
        :raises InvalidRequest: the URL is none.
        """
        import aiohttp  # noqa: PLC0415 - heavy: loaded when first used

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                headers={"User-Agent": self._user_agent},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
                auto_decompress=True,
            )
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(
                    method,
                    url,
                    params=params,
                    headers=headers,
                    json=json,
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(),
                ) as answer,
            ):
                return HttpResponse(answer.status, answer.headers, await self._read(answer))
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer from {_host(url)} within {timeout:.3g} s") from error
        except aiohttp.InvalidURL as error:
            raise InvalidRequest(f"{url[:200]!r} is not a URL") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{_host(url)} could not be reached, or broke off: {type(error).__name__}") from error

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks = bytearray()
        async for chunk in answer.content.iter_any():
            chunks += chunk
            if len(chunks) > self._max_body_bytes:
                raise Unavailable(f"{answer.url.host} answered with more than {self._max_body_bytes} bytes")
        return bytes(chunks)

    async def aclose(self) -> None:
        """Close the pool and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


_MEANS: Mapping[int, type[ConnectorError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    410: NotFound,
    412: FailedPrecondition,
    421: Unavailable,
    425: Unavailable,
    429: RateLimited,
    501: FailedPrecondition,
}
_OTHER_4XX: type[ConnectorError] = InvalidRequest
_OTHER_5XX: type[ConnectorError] = Unavailable


def error_for_status(status: int, message: str, headers: Mapping[str, str] | None = None) -> ConnectorError:
    """The error that an HTTP status of 400 or more means (RFC 9110 §15, RFC 6585 §4), with the ``Retry-After`` of its
    headers. The error's class says whether the request is worth trying again, and whether it proves that nothing was
    done.

    :param message: for the caller of the RPC; say what was being done.
    """
    wait = retry_after_seconds(headers.get("Retry-After")) if headers is not None else None
    kind = _MEANS.get(status, _OTHER_5XX if status >= 500 else _OTHER_4XX)
    return kind(message, retry_after=wait)


def retry_after_seconds(value: str | None, *, now: datetime | None = None) -> float | None:
    """The seconds that a ``Retry-After`` header asks for, in either form (RFC 9110 §10.2.3), at most a day; None where
    it says nothing.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()), _LONGEST_RETRY_AFTER)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "the platform"
    except ValueError:
        return "the platform"
