"""What an operator may set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_network

from connectors_http._addresses import Addresses
from connectors_http._hosts import HostRule

__all__ = ["WebhookSettings"]


@dataclass(frozen=True)
class WebhookSettings:
    """The plugin's settings: ``CONNECTORS_HTTP__<FIELD>``, or ``[plugins.http]``.

    :raises ValueError: a value is out of its range, or is not of its form.
    """

    hosts: tuple[str, ...] = ()
    """Which hosts may be called; none by default. ``api.example.com`` is https at its own port;
    ``api.example.com:8443`` is https at another one, and ``http://…`` is unencrypted. ``*.example.com`` is every name
    under example.com, and not example.com itself."""

    private_networks: tuple[str, ...] = ()
    """Networks, such as ``10.20.0.0/16``, whose addresses may be connected to although they are not on the public
    internet. A host must be listed all the same."""

    secret_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Which secrets a task's headers may name, and the hosts, written as in ``hosts``, that each may be sent to."""

    redirects: int = 0
    """How many redirects of one call are followed, from 0 to 10. Each must lead to a listed host."""

    max_response_bytes: int = 1024 * 1024
    """The longest answer that is read, in bytes, from 1 KiB to 64 MiB. The backend takes messages of 4 MiB."""

    longest_timeout: float = 300.0
    """Seconds, above 0: a task that asks for a longer ``timeout`` gets this one. A call's own deadline, where it is
    nearer, wins."""

    def __post_init__(self) -> None:
        for name in ("host_rules", "addresses", "secret_rules"):  # each says what is wrong with its setting
            getattr(self, name)
        if not 0 <= self.redirects <= 10:
            raise ValueError("redirects: must be from 0 to 10")
        if not 1024 <= self.max_response_bytes <= 64 * 1024 * 1024:
            raise ValueError("max_response_bytes: must be from 1024 to 67108864")
        if not self.longest_timeout > 0:
            raise ValueError("longest_timeout: must be above 0 seconds")

    @cached_property
    def host_rules(self) -> tuple[HostRule, ...]:
        """``hosts``, parsed."""
        return _rules("hosts", self.hosts)

    @cached_property
    def secret_rules(self) -> Mapping[str, tuple[HostRule, ...]]:
        """``secret_hosts``, parsed."""
        return {name: _rules(f"secret_hosts, {name}", hosts) for name, hosts in self.secret_hosts.items()}

    @cached_property
    def addresses(self) -> Addresses:
        """Which addresses may be connected to, given ``private_networks``."""
        try:
            return Addresses(map(ip_network, self.private_networks))
        except ValueError as error:
            raise ValueError(f"private_networks: {error}; expected networks such as 10.20.0.0/16") from error


def _rules(name: str, hosts: tuple[str, ...]) -> tuple[HostRule, ...]:
    try:
        return tuple(map(HostRule.parse, hosts))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
