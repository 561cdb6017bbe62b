"""The client. aiohttp is loaded when the first request is made: a server whose connectors bring their own client does
not pay for it.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from connectors.errors import DeadlineExceeded, InvalidRequest, Unavailable
from connectors.http._egress import Egress
from connectors.http._library import loaded
from connectors.http._watching import watched_request

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

__all__ = ["HttpClient", "HttpResponse"]

_PLACES = 1_024  # that a client remembers: an HTTP connector's are its callers' choice


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
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"the platform answered HTTP {self.status} with a body that is not JSON") from error

    def text(self) -> str:
        """The body as UTF-8 text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")


class HttpClient:
    """A connection pool for the whole process.

    It sends the credentials that a connector gives it and no others: what a ``.netrc`` of the server's user holds goes
    to no platform.
    """

    def __init__(
        self,
        *,
        connections: int = 256,
        max_body_bytes: int = 64 * 1024 * 1024,
        user_agent: str = "connectors",
        egress: Egress | None = None,
        admits: Callable[[str], bool] | None = None,
    ) -> None:
        """:param connections: open at once, over all hosts. :param max_body_bytes: a longer answer is an error.

        :param egress: the proxy and the certificate authorities; by default what the usual variables say when a place
            is first asked for something.
        :param admits: is asked about each IP address, in text form, before it is connected to, whether a URL holds it
            or a name led to it. Where it admits none, the request fails and nothing was sent. Of a request that goes
            through a proxy it is asked about an address in the URL alone: names are the proxy's to resolve.
        """
        self._connections = connections
        self._max_body_bytes = max_body_bytes
        self._user_agent = user_agent
        self._egress = egress or Egress()
        self._admits = admits
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        """By whether the names in its URLs are the proxy's to resolve."""
        self._proxies: dict[tuple[str, str | None, int | None], str | None] = {}
        """By scheme, host and port."""

    @property
    def egress(self) -> Egress:
        """Which way this client's requests take: for an SDK that brings a client of its own."""
        return self._egress

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
        :raises PermissionDenied: the URL leads to no address that this client may connect to; nothing was sent.
        :raises FailedPrecondition: the proxy's address, or the file of certificates, cannot be used; nothing was sent.
        """
        await loaded()
        import aiohttp  # noqa: PLC0415 - heavy: loaded when first used
        from yarl import URL  # noqa: PLC0415

        try:
            # The object that is checked is the one that is sent: two readers of one text may see two hosts.
            target = URL(url)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{url[:200]!r} is not a URL") from error
        if self._admits is not None:
            from connectors.http._admission import check_literal  # noqa: PLC0415 - it needs aiohttp

            check_literal(target.raw_host or "", self._admits)
        proxy = self._proxy_for(target)
        session = self._session(proxied=proxy is not None)
        with watched_request(method, target.scheme, target.host or "", target.port) as watch:
            try:
                async with asyncio.timeout(timeout):
                    answer = await session.request(
                        method,
                        target,
                        params=params,
                        headers=watch.headers(headers),
                        json=json,
                        data=body,
                        allow_redirects=False,
                        proxy=proxy,
                    )
                    try:
                        whole = await self._read(answer)
                    finally:
                        answer.release()
                    watch.status = answer.status
                    return HttpResponse(answer.status, answer.headers, whole)
            except TimeoutError as error:
                raise DeadlineExceeded(f"no answer from {_host(url)} within {timeout:.3g} s") from error
            except aiohttp.InvalidURL as error:
                raise InvalidRequest(f"{url[:200]!r} is not a URL") from error
            except aiohttp.ClientHttpProxyError as error:
                # not chained: its text has the proxy's URL, password and all
                raise Unavailable(f"the proxy does not lead to {_host(url)}: it answered HTTP {error.status}") from None
            except (aiohttp.ClientError, OSError) as error:
                raise Unavailable(_what_befell(_host(url), error)) from error

    def _proxy_for(self, target: URL) -> str | None:
        """What the egress says, asked once for each place: it reads the whole environment, which takes 200 µs."""
        place = (target.scheme, target.raw_host, target.explicit_port)
        try:
            return self._proxies[place]
        except KeyError:
            proxy = self._egress.proxy_for(str(target))
        if len(self._proxies) >= _PLACES:
            self._proxies.clear()
        self._proxies[place] = proxy
        return proxy

    def _session(self, *, proxied: bool) -> aiohttp.ClientSession:
        proxied = proxied and self._admits is not None  # else one pool serves both
        session = self._sessions.get(proxied)
        if session is None:
            session = self._sessions[proxied] = self._open(proxied=proxied)
        return session

    def _open(self, *, proxied: bool) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415 - see request()

        from connectors.http._admission import AdmittedAddresses  # noqa: PLC0415 - it needs aiohttp

        pool: dict[str, Any] = {"limit": self._connections}
        if self._egress.ca_file is not None:
            pool["ssl"] = self._egress.ssl_context()
        if self._admits is not None and not proxied:
            pool["resolver"] = AdmittedAddresses(self._admits)
        # trust_env would also send what a .netrc holds, and read it in a thread for every request
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(**pool),
            headers={"User-Agent": self._user_agent},
            timeout=aiohttp.ClientTimeout(),  # none: each request has its own
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=True,
        )

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        content, read, whole = answer.content, 0, []
        while chunk := await content.readany():
            read += len(chunk)
            if read > self._max_body_bytes:
                raise Unavailable(f"{answer.url.host} answered with more than {self._max_body_bytes} bytes")
            whole.append(chunk)
        return whole[0] if len(whole) == 1 else b"".join(whole)

    async def aclose(self) -> None:
        """Close the pool and its connections."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _what_befell(host: str, error: Exception) -> str:
    """Why there is no whole answer, in words that hold nothing of the error's own."""
    import aiohttp  # noqa: PLC0415 - see request()

    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"{host} could not be reached: its name does not resolve"
        case aiohttp.ClientProxyConnectionError():
            return f"{host} could not be reached: no connection to the proxy can be made"
        case aiohttp.ClientConnectorCertificateError():
            return f"{host} could not be reached: its TLS certificate is not one that is trusted for it"
        case aiohttp.ClientSSLError():
            return f"{host} could not be reached: TLS could not be agreed on"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return f"{host} could not be reached: it refused the connection"
        case aiohttp.ClientConnectorError():
            return f"{host} could not be reached: no connection to it can be made"
        case aiohttp.ClientPayloadError():
            return f"{host} broke off in the middle of its answer"
        case aiohttp.ClientResponseError():
            return f"{host} answered with what is no HTTP"
        case _:
            return f"{host} broke off without an answer"


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "the platform"
    except ValueError:
        return "the platform"
