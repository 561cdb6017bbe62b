"""Which addresses may be connected to."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from connectors_http._addresses import Addresses

PUBLIC = ["1.1.1.1", "93.184.215.14", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111"]
PUBLIC_IN_ANOTHER_FORM = ["::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]
PRIVATE = {
    "this network": "0.0.0.0",
    "private": "10.1.2.3",
    "carrier": "100.64.0.1",
    "Alibaba's metadata": "100.100.100.200",
    "loopback": "127.0.0.1",
    "all of loopback": "127.8.8.8",
    "Azure's platform": "168.63.129.16",
    "metadata": "169.254.169.254",
    "ECS's metadata": "169.254.170.2",
    "private, 172": "172.16.0.1",
    "private, its end": "172.31.255.255",
    "Oracle's metadata": "192.0.0.192",
    "documentation": "192.0.2.1",
    "private, 192": "192.168.1.1",
    "benchmarks": "198.19.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "IPv6 unspecified": "::",
    "IPv6 loopback": "::1",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with a zone": "fe80::1%eth0",
    "IPv6 unique local": "fd00:ec2::254",
    "IPv6 site-local": "fec0::1",
    "IPv6 multicast": "ff02::1",
    "IPv6 documentation": "2001:db8::1",
    "IPv6 documentation, the newer": "3fff::1",
    "Teredo": "2001:0:5ef5:79fb::1",
    "mapped": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:a9fe:a9fe",
    "compatible": "::127.0.0.1",
    "compatible, of a public one": "::1.1.1.1",
    "translated": "::ffff:0:127.0.0.1",
    "NAT64": "64:ff9b::7f00:1",
    "NAT64 to metadata": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::1",
    "6to4": "2002:7f00:1::1",
    "6to4 to a private network": "2002:a00:1::1",
    "not given out": "4000::1",
    "no address": "localhost",
    "nothing": "",
}


@pytest.mark.parametrize("address", PUBLIC + PUBLIC_IN_ANOTHER_FORM)
def test_a_public_address_is_admitted(address: str) -> None:
    assert Addresses().admits(address)


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE)
def test_any_other_address_is_refused(address: str) -> None:
    assert not Addresses().admits(address)


@pytest.mark.parametrize(
    "address", ["10.20.0.1", "::ffff:10.20.0.1", "64:ff9b::a14:1", "2002:a14:1::1", "fd00:1::5", "fd00:1::5%eth0"]
)
def test_an_address_of_a_listed_network_is_admitted(address: str) -> None:
    assert Addresses([ip_network("10.20.0.0/16"), ip_network("fd00:1::/32")]).admits(address)


@pytest.mark.parametrize("address", ["10.21.0.1", "127.0.0.1", "fd00:2::5", "64:ff9b::a15:1"])
def test_a_listed_network_admits_no_other(address: str) -> None:
    assert not Addresses([ip_network("10.20.0.0/16"), ip_network("fd00:1::/32")]).admits(address)
