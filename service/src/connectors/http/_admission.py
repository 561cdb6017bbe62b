"""Which addresses a client may connect to: asked of what a URL holds, and of what its name leads to.

The answer of the resolver is what is connected to, so that a name which leads elsewhere a moment later (DNS rebinding)
leads nowhere else here.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from connectors.errors import InvalidRequest, PermissionDenied

__all__ = ["AdmittedAddresses", "check_literal"]

_NUMBER = re.compile(r"\d+|0x[\da-f]*", re.IGNORECASE | re.ASCII)


def check_literal(host: str, admits: Callable[[str], bool]) -> None:
    """Refuse a host that is an address which is not admitted. A name is left to the resolver.

    :raises PermissionDenied: it is. :raises InvalidRequest: the host ends in a number and is no address as text: a
        resolver would take 127.1 or 0x7f000001 for one (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    text = _plain(host)
    if text is None:
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            raise InvalidRequest(f"{host[:80]!r} is neither a name nor an address: write 127.0.0.1 or [::1] in full")
    elif not admits(text):
        raise _refused(host)


class AdmittedAddresses(AbstractResolver):
    """Leaves out of a name's addresses those that are not admitted."""

    def __init__(self, admits: Callable[[str], bool]) -> None:
        self._admits = admits
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        admitted = [item for item in found if (text := _plain(item["host"])) is not None and self._admits(text)]
        if found and not admitted:
            raise _refused(host)
        return admitted

    async def close(self) -> None:
        await self._resolver.close()


def _plain(host: str) -> str | None:
    """The address that ``host`` is, in its shortest form, without the interface's name; an IPv4 address that is wrapped
    in an IPv6 one comes out of it. None where it is none.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(address if mapped is None else mapped)


def _refused(host: str) -> PermissionDenied:
    return PermissionDenied(f"{host[:255]} leads to no address that may be connected to from here")
