"""How requests leave: through which proxy, and by whose certificates the other side is believed."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from connectors.errors import FailedPrecondition

__all__ = ["Egress"]

_PROXY = re.compile(r"https?://([^/?#]*@)?(\[[\da-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?/?", re.IGNORECASE)
_WANTED = "must be a proxy's address, http://host:port or http://user:password@host:port"


@dataclass(frozen=True)
class Egress:
    """The operator's proxy and certificate authorities.

    A client that is not this project's own, as an SDK brings one, asks :meth:`proxy_for` and :meth:`ssl_context`, or
    takes :attr:`ca_file`.
    """

    proxy: str | None = field(default=None, repr=False)
    """``http://[user:password@]host:port``, for every host that ``NO_PROXY`` does not name. None: ``HTTPS_PROXY`` and
    ``HTTP_PROXY`` say. May hold a password: never show it."""
    ca_file: str | None = None
    """A file of certificates (PEM) that are trusted in place of the system's. None: the system's, or those in
    ``SSL_CERT_FILE``."""

    def __post_init__(self) -> None:
        """:raises ValueError: the proxy's address is none. The text does not repeat it."""
        if self.proxy is not None and not _PROXY.fullmatch(self.proxy):
            raise ValueError(_WANTED)

    def proxy_for(self, url: str) -> str | None:
        """The proxy that a request to ``url`` goes through, with its password; None where it goes straight there.

        ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``, in capitals or small letters, are read as Python's own
        :func:`urllib.request.getproxies` reads them.

        :raises FailedPrecondition: the variable holds no address of an HTTP proxy. The text does not repeat it.
        """
        variables = getproxies()
        if self.proxy is None and not variables:
            return None
        try:
            parts = urlsplit(url)
            scheme, place = parts.scheme.lower(), parts.netloc.rpartition("@")[2]
        except ValueError:
            return None  # whoever sends a request there will say that it is no URL
        if proxy_bypass(place):
            return None
        if self.proxy is not None:
            return self.proxy
        proxy = variables.get(scheme) if scheme in ("http", "https") else None
        if proxy is None:
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if not _PROXY.fullmatch(proxy):
            raise FailedPrecondition(f"{scheme.upper()}_PROXY {_WANTED}")
        return proxy

    def ssl_context(self) -> ssl.SSLContext:
        """What verifies the other side's certificate. Building one takes some milliseconds: keep it.

        :raises FailedPrecondition: :attr:`ca_file` cannot be read, or holds no certificates.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            unread = f"cannot be read: {error.strerror}"
            reason = "holds no certificates (PEM)" if isinstance(error, ssl.SSLError) else unread
            raise FailedPrecondition(f"the file of certificate authorities {self.ca_file} {reason}") from error
        context.set_alpn_protocols(["http/1.1"])  # as aiohttp's own; it speaks no other
        return context
