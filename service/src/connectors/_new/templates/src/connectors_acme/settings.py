"""What an operator may set."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["AcmeSettings"]

_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class AcmeSettings:
    """The plugin's settings.

    In the environment they are ``CONNECTORS_ACME__<FIELD>``, in
    connectors.toml the keys of ``[plugins.acme]``.

    :raises ValueError: a value is out of its range.
    """

    endpoint: str = "https://api.acme.example"
    """Where the API is. It must be https, unless it is this machine's, since the token goes there."""

    request_timeout: float = 20.0
    """Seconds for one request, above 0. The call's own deadline, where it is nearer, wins."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        extra = parts.query or parts.fragment or parts.username
        if parts.scheme not in {"http", "https"} or not parts.hostname or extra:
            raise ValueError("endpoint: must be a URL like https://api.acme.example")
        if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
            raise ValueError("endpoint: must be https, since the token is sent there")
        if not self.request_timeout > 0:
            raise ValueError("request_timeout: must be above 0 seconds")
