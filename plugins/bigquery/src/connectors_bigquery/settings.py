"""What an operator may set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["DEFAULT_ENDPOINT", "EMULATOR_VARIABLE", "BigQuerySettings", "emulator_endpoint"]

DEFAULT_ENDPOINT = "https://bigquery.googleapis.com"
EMULATOR_VARIABLE = "BIGQUERY_EMULATOR_HOST"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class BigQuerySettings:
    """The plugin's settings: ``CONNECTORS_BIGQUERY__<FIELD>``, or ``[plugins.bigquery]``.

    :raises ValueError: a value is out of its range.
    """

    endpoint: str = DEFAULT_ENDPOINT
    """Where BigQuery's API is: a regional or a private endpoint, say. It must be https, unless it is this machine's,
    since access tokens go there. ``BIGQUERY_EMULATOR_HOST`` in the environment wins over it."""

    request_timeout: float = 20.0
    """Seconds for one HTTP exchange, above 0. A call's own deadline, where it is nearer, wins."""

    def __post_init__(self) -> None:
        _check_url(self.endpoint, "endpoint")
        parts = urlsplit(self.endpoint)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise ValueError("endpoint: must be https, since access tokens are sent there")
        if not self.request_timeout > 0:
            raise ValueError("request_timeout: must be above 0 seconds")


def emulator_endpoint() -> str | None:
    """The emulator that ``BIGQUERY_EMULATOR_HOST`` names, without a slash at its end, or None.

    The value is a URL, as Google's Python client takes it; a bare ``host:port``, as Google's Go client takes it, is one
    of http.

    :raises ValueError: it is no URL of http or https.
    """
    value = os.environ.get(EMULATOR_VARIABLE, "").strip()
    if not value:
        return None
    if "://" not in value:
        value = f"http://{value}"
    _check_url(value, EMULATOR_VARIABLE)
    return value.rstrip("/")


def _check_url(value: str, name: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{name}: {value[:200]!r} is not a URL like {DEFAULT_ENDPOINT}")
