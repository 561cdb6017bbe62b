"""The SDK and its HTTP client, and their errors as this project's own. Imported when the first call is made.

https://github.com/openai/openai-python and https://developers.openai.com/api/docs/guides/error-codes. This is the one
module that imports the SDK, and the one place where a foreign error becomes ours.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI, OpenAIError

from connectors import (
    ConnectorError,
    DeadlineExceeded,
    FailedPrecondition,
    PermissionDenied,
    Unavailable,
    error_for_status,
)
from connectors.http import Egress, watched_request
from connectors_openai._errors import ContentFiltered, NoSuchRange

__all__ = ["Pool", "translated"]

_MOST_BYTES = 64 * 1024 * 1024  # of an answer that is read as a whole
_LONGEST_MESSAGE = 2_000  # characters of OpenAI's own text

_BY_CODE: Mapping[str, type[ConnectorError]] = {
    # sent with 429, and no wait helps: https://developers.openai.com/api/docs/guides/error-codes
    "insufficient_quota": FailedPrecondition,
    "billing_hard_limit_reached": FailedPrecondition,
    "billing_not_active": FailedPrecondition,
    "account_deactivated": PermissionDenied,
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
}
"""What an error's code means, where that is not what its status means."""
_NOT_REPEATED = {401: "the API key was not accepted"}  # OpenAI's text shows a part of the key
_MISSING_SCOPES = re.compile(r"Missing scopes: ([a-z_]+(?:\.[a-z_]+)*(?:, [a-z_]+(?:\.[a-z_]+)*)*)")
"""What a restricted key may not do is told with a 401, in these words and without a code."""


class Pool:
    """Connections to one API, and clients over them."""

    def __init__(self, base_url: str, *, connections: int, connect_timeout: float, egress: Egress) -> None:
        """:param connect_timeout: seconds for a connection to be made.

        :raises FailedPrecondition: the proxy or the certificates cannot be used.
        """
        proxy = egress.proxy_for(base_url)
        self._http = _WatchedClient(
            verify=_verifying(egress, base_url, proxy or ""),
            proxy=proxy,
            trust_env=False,  # the egress has read the environment
            follow_redirects=False,  # an API key goes to the operator's host and to no other
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"Accept-Encoding": "identity"},  # a small answer cannot become a large one
            # identities share the connections, and must not share a session
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            event_hooks={"response": [_bounded]},
        )
        self._client = AsyncOpenAI(
            api_key="none",
            base_url=base_url,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=connect_timeout),  # the rest of an exchange is bounded as a whole
            http_client=self._http,
        )
        # the SDK loads its parts when they are first asked for: here, in a thread, and not on the event loop
        _ = (self._client.chat.completions, self._client.embeddings, self._client.batches, self._client.files)

    def client(self, api_key: str, organization: str, project: str) -> AsyncOpenAI:
        """A client with this identity. It shares the connections, and needs no closing."""
        client = self._client.with_options(api_key=api_key)
        # the SDK has read OPENAI_ORG_ID and OPENAI_PROJECT_ID
        client.organization = organization or self._client.organization
        client.project = project or self._client.project
        return client

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class _WatchedClient(httpx2.AsyncClient):
    """Its requests are counted, and are a part of the call's trace, as those of the service's own client are. One whose
    time is over counts as cancelled: the exchange as a whole is bounded, around it.
    """

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        url = request.url
        with watched_request(request.method, url.scheme, url.host, url.port) as watch:
            for name, value in (watch.headers(None) or {}).items():
                request.headers.setdefault(name, value)
            try:
                response = await super().send(request, **options)
            except httpx2.TimeoutException:
                watch.fault = "timeout"
                raise
            watch.status = response.status_code
            return response


@contextmanager
def translated(doing: str, *, timeout: float, is_deadline: bool) -> Iterator[None]:
    """Turn what is raised inside into an error of this project's.

    :param doing: for the message: "the chat". :param timeout: seconds, for the message.
    :param is_deadline: whether that is all the time the call has, so that it is over.
    :raises DeadlineExceeded: no answer in time, and none left; OpenAI may have carried the request out.
    :raises Unavailable: no answer, or a cut one; likewise.
    :raises ConnectorError: as OpenAI's status and code say.
    """
    try:
        yield
    except APIStatusError as error:
        raise _of_status(error, doing) from error
    except (APITimeoutError, TimeoutError, httpx2.TimeoutException) as error:
        cause = error.__cause__
        if isinstance(cause, httpx2.ConnectTimeout):
            raise Unavailable(f"{doing}: no connection to OpenAI could be made in time") from error
        # Where there is time for another try: whether this one was carried out is not known.
        kind = DeadlineExceeded if is_deadline else Unavailable
        raise kind(f"{doing}: no answer from OpenAI within {timeout:.3g} s") from error
    except (APIConnectionError, httpx2.HTTPError, httpx2.StreamError) as error:
        name = type(error.__cause__ or error).__name__
        raise Unavailable(f"{doing}: OpenAI could not be reached, or broke off: {name}") from error
    except OpenAIError as error:
        raise Unavailable(f"{doing}: OpenAI's answer is none that its SDK can read: {type(error).__name__}") from error


def _of_status(error: APIStatusError, doing: str) -> ConnectorError:
    status = error.status_code
    if status < 400:
        return Unavailable(f"{doing}: OpenAI answered HTTP {status}, which is neither an answer nor an error")
    if status == 416:
        return NoSuchRange(f"{doing}: nothing is there")
    lacks = _MISSING_SCOPES.search(_message(error)) if status == 401 else None
    if lacks:
        return PermissionDenied(f"{doing}: the API key has no permission: {lacks[1][:200]}")
    text = f"{doing}: {_NOT_REPEATED.get(status) or _message(error)}"
    code = error.code or (error.type if error.type in _BY_CODE else None)
    if code and code not in text and status not in _NOT_REPEATED:
        text += f" (code: {code[:100]})"
    kind = _BY_CODE.get(code or "")
    if kind is not None and status < 500:
        return kind(text)
    return error_for_status(status, text, error.response.headers)


def _message(error: APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, Mapping) else None
    if not isinstance(message, str) or not message.strip():
        return f"OpenAI answered HTTP {error.status_code}"
    return message.strip()[:_LONGEST_MESSAGE]


def _verifying(egress: Egress, *urls: str) -> ssl.SSLContext:
    if any(url.startswith("https:") for url in urls):
        return egress.ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which believes nobody: no certificate is read for plain http


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error once it is longer than any that is expected."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > _MOST_BYTES:
                raise httpx2.DecodingError(f"more than {_MOST_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bounded(response: httpx2.Response) -> None:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise httpx2.DecodingError("compressed, though that was not asked for", request=response.request)
    if response.request.url.path.endswith("/content") and response.is_success:
        return  # a file: it is read piece by piece, and no further than is wanted
    stream: Any = response.stream
    response.stream = _Bounded(stream)
