"""Which hosts may be called: the operator's list, and the hosts of URLs compared with it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import SplitResult, urlsplit

__all__ = ["HostRule", "Origin", "listed", "origin_of"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_IPV6 = re.compile(r"\[[\da-fA-F:.]+\](:\d*)?", re.ASCII)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True)
class Origin:
    """Where a URL leads: a scheme, a host and a port (RFC 6454 §4)."""

    scheme: str
    """http or https."""
    host: str
    """A name in lower case, an IPv4 address, or an IPv6 address without its brackets."""
    port: int

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address, in the form that all programs agree on."""
        return ":" in self.host or re.fullmatch(r"\d+(\.\d+){3}", self.host) is not None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")


@dataclass(frozen=True)
class HostRule:
    """A line of the operator's list."""

    origin: Origin
    subdomains: bool
    """Whether it stands for all names under the host, and not for the host itself."""

    @classmethod
    def parse(cls, text: str) -> HostRule:
        """The rule that a text stands for: ``api.example.com``, ``*.example.com``, ``api.example.com:8443``,
        ``[2001:db8::1]``, or with ``http://`` before it.

        Without a scheme it is https, and without a port the scheme's own.

        :raises ValueError: it is none of these.
        """
        expected = "a host such as 'api.example.com', '*.example.com', 'api.example.com:8443' or 'http://10.0.0.5:8080'"
        url = text.strip() if "://" in text else f"https://{text.strip()}"
        before, _, host = url.partition("://*.")
        try:
            parts = urlsplit(f"{before}://{host}" if host else url)
            origin = origin_of(parts)
        except ValueError as error:
            raise ValueError(f"{text[:200]!r} must be {expected}") from error
        if parts.path not in {"", "/"} or parts.query or parts.fragment or (host and origin.is_address):
            raise ValueError(f"{text[:200]!r} must be {expected}, without a path")
        return cls(origin, subdomains=bool(host))

    def admits(self, origin: Origin) -> bool:
        """Whether the rule lets requests go to ``origin``."""
        mine = self.origin
        if (mine.scheme, mine.port) != (origin.scheme, origin.port):
            return False
        return origin.host.endswith(f".{mine.host}") if self.subdomains else origin.host == mine.host


def listed(rules: Iterable[HostRule], origin: Origin) -> bool:
    """Whether any of the rules admits ``origin``."""
    return any(rule.admits(origin) for rule in rules)


def origin_of(parts: SplitResult) -> Origin:
    """Where a URL leads.

    It takes only what all programs read alike: no user, no characters but ASCII (an international name is written as
    ``xn--…``), no zone of an IPv6 address.

    :raises ValueError: the URL is not of that kind; the message says why, and repeats no part of it that could be a
        password.
    """
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("it must begin with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("it must hold no user name and no password: a header can carry them as secrets")
    host = (parts.hostname or "").lower()
    if parts.netloc.startswith("["):
        if not _IPV6.fullmatch(parts.netloc):  # urlsplit takes more; a zone names an interface of the server's
            raise ValueError("an IPv6 address must stand in brackets, without a zone")
        try:
            host = str(IPv6Address(host))
        except AddressValueError as error:
            raise ValueError(f"{host[:80]!r} is not an IPv6 address") from error
    else:
        host = host.removesuffix(".")
        if not _NAME.fullmatch(host) or len(host) > 253:
            raise ValueError(f"{host[:80]!r} is not the name of a host")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("its port must be a number from 1 to 65535") from error
    if port == 0:
        raise ValueError("its port must be a number from 1 to 65535")
    if host.replace(".", "").isdigit():
        host = _ipv4(host)
    return Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])


def _ipv4(host: str) -> str:
    # 127.1, 2130706433 and 0177.0.0.1 are addresses for some programs, and names for others
    try:
        return str(IPv4Address(host))
    except AddressValueError as error:
        raise ValueError(f"{host!r} is not an IPv4 address") from error
