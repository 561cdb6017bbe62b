"""Which addresses may be connected to: those of the public internet, and what the operator lists.

An IPv6 address may stand for an IPv4 one, and lead there: it is judged by both.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

__all__ = ["Addresses", "Network"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",  # carriers' address translation (RFC 6598); Alibaba Cloud's metadata too
    "127.0.0.0/8",
    "168.63.129.16/32",  # Azure's platform service: a public address that answers inside Azure alone
    "169.254.0.0/16",  # link-local (RFC 3927): the metadata of AWS, Azure, Google Cloud
    "172.16.0.0/12",
    "192.0.0.0/24",  # protocol assignments (RFC 6890); Oracle Cloud's metadata too
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    # of IPv6, beside all that is outside of 2000::/3
    "2001::/23",  # protocol assignments (RFC 2928), Teredo among them
    "2001:db8::/32",
    "3fff::/20",
)
"""IANA's special-purpose registries (https://www.iana.org/assignments/iana-ipv4-special-registry and …-ipv6-…)."""
_PRIVATE: Final = tuple(ip_network(text) for text in _NOT_PUBLIC)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # all that is given out so far (RFC 4291 §2.4)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address is its last 32 bits


class Addresses:
    """The judge of addresses."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        """:param allowed: private networks that may be connected to."""
        self._allowed = tuple(allowed)

    def admits(self, address: str) -> bool:
        """Whether an IP address, as text, may be connected to. What is no address may not."""
        try:
            found = ip_address(address.partition("%")[0])  # an IPv6 address may come with its zone
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # the system connects to the IPv4 address (RFC 4291 §2.5.5.2)
        carried = _carried(found)
        if any(each in network for network in self._allowed for each in (found, carried) if each is not None):
            return True
        return _is_public(found if carried is None else carried)


def _carried(address: Address) -> IPv4Address | None:
    """The IPv4 address that a gateway would send this one's packets to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _PRIVATE if network.version == address.version)
