"""What an HTTP status means, as this project's errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from connectors.errors import (
    Conflict,
    ConnectorError,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

__all__ = ["error_for_status", "retry_after_seconds"]

_LONGEST_RETRY_AFTER = 24 * 3600.0

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
