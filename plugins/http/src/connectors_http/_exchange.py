"""Sending a request, and following redirects as far as the operator lets them lead."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from connectors import DeadlineExceeded, HttpClient, HttpResponse, PermissionDenied, Unavailable
from connectors_http._hosts import HostRule
from connectors_http._request import WebhookRequest, check_host
from connectors_http._url import Url, checked

__all__ = ["Answer", "AnswerLost", "exchange"]

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))


class AnswerLost(Unavailable):
    """The service's answer did not arrive, and it may have carried the request out."""

    retryable = False


@dataclass(frozen=True)
class Answer:
    """The last answer of an exchange."""

    response: HttpResponse
    request: WebhookRequest
    """The one that it answers."""
    redirects: int
    """How many were followed."""


async def exchange(
    http: HttpClient,
    request: WebhookRequest,
    *,
    rules: Sequence[HostRule],
    expects: Sequence[range],
    redirects: int,
    timeout: float,
) -> Answer:
    """Send a request and read its answer; redirects that lead to listed hosts are followed.

    :param expects: statuses that end the exchange, also those of redirects. :param redirects: how many are followed.
    :param timeout: seconds for all of it.
    :raises PermissionDenied: the host, or one that a redirect leads to, is not listed, or has no admitted address.
    :raises DeadlineExceeded: there was no whole answer in time.
    :raises Unavailable: the service cannot be reached.
    :raises AnswerLost: the same, of a request that may not be repeated.
    """
    clock = asyncio.get_running_loop().time
    ends_at = clock() + timeout
    followed = 0
    while True:
        check_host(rules, request.url.origin)
        left = ends_at - clock()
        if left <= 0:
            raise DeadlineExceeded(f"{request.url.origin} redirected until the time of {timeout:.3g} s was over")
        response = await _send(http, request, left)
        location = response.headers.get("Location")
        expected = any(response.status in each for each in expects)
        if expected or response.status not in _REDIRECTS or location is None or followed == redirects:
            return Answer(response, request, followed)
        request = request.redirected(response.status, _next(request.url, location))
        followed += 1


async def _send(http: HttpClient, request: WebhookRequest, timeout: float) -> HttpResponse:
    try:
        return await http.request(
            request.method, str(request.url), headers=request.headers, body=request.body, timeout=timeout
        )
    except PermissionDenied as error:  # of the client's: it is told addresses, and not whose setting admits them
        raise PermissionDenied(
            f"{error.message}: the operator lists networks that are not public in private_networks "
            "(CONNECTORS_HTTP__PRIVATE_NETWORKS)"
        ) from error
    except Unavailable as error:
        if request.repeatable or _never_connected(error):
            raise
        raise AnswerLost(
            f"{error.message}; it may have carried the {request.method} out, so it is not sent again"
        ) from error


def _never_connected(error: BaseException) -> bool:
    """Whether an error shows that there was no connection to send anything over."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror) or (isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED):
            return True
        cause = cause.__cause__
    return False


def _next(url: Url, location: str) -> Url:
    try:
        return checked(urljoin(str(url), location))
    except ValueError as error:
        raise PermissionDenied(f"{url.origin} redirects to where webhooks may not go: {error}") from error
