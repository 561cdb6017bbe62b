"""The address that a name leads to is checked as it is connected to, whatever it was a moment ago."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from connectors import InvalidRequest, PermissionDenied, Phase
from connectors_http import WebhookSettings
from plugins.http.tests.conftest import THIS_MACHINE, Call
from plugins.http.tests.fake_service import FakeService

pytestmark = pytest.mark.anyio
Allowing = Callable[..., WebhookSettings]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the system's resolver answers for these names, as a DNS server of an attacker's might have it answer."""
    answers: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in answers:
            return real(host, port, *args, **more)
        return [entry for each in answers[host] for entry in real(each, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


def calling(name: str, service: FakeService, **more: Any) -> Mapping[str, Any]:
    """A call of a service by a name that is listed."""
    url = f"http://{name}:{service.port}"
    settings = WebhookSettings(**{"hosts": (url,), "private_networks": ("127.0.0.2/32",), **more})
    return {"url": f"{url}/hook", "settings": settings}


async def test_a_host_that_is_not_listed_is_not_called(call: Call, service: FakeService) -> None:
    with pytest.raises(PermissionDenied, match=r"is not among the hosts.* in hosts \(CONNECTORS_HTTP__HOSTS\)"):
        await call(settings=WebhookSettings(private_networks=THIS_MACHINE))
    assert service.received == []


async def test_a_listed_name_that_leads_to_this_machine_is_not_called(call: Call, service: FakeService) -> None:
    with pytest.raises(
        PermissionDenied,
        match=r"leads to no address that may be .* private_networks \(CONNECTORS_HTTP__PRIVATE_NETWORKS\)",
    ):
        await call(**calling("localhost", service, private_networks=()))
    assert service.received == []


async def test_a_name_that_leads_elsewhere_after_a_first_call_is_not_called_again(
    call: Call, service: FakeService, names: dict[str, list[str]]
) -> None:
    async with FakeService().serving("127.0.0.2", service.port) as permitted:
        names["rebinding.test"] = ["127.0.0.2"]
        assert (await call(**calling("rebinding.test", service))).phase is Phase.SUCCEEDED
        names["rebinding.test"] = ["127.0.0.1"]
        with pytest.raises(PermissionDenied, match=r"rebinding\.test leads to no address"):
            await call(**calling("rebinding.test", service))
        assert (len(permitted.received), len(service.received)) == (1, 0)


async def test_of_several_addresses_those_that_are_admitted_are_connected_to(
    call: Call, service: FakeService, names: dict[str, list[str]]
) -> None:
    async with FakeService().serving("127.0.0.2", service.port) as permitted:
        names["both.test"] = ["127.0.0.1", "127.0.0.2"]
        await call(**calling("both.test", service))
        assert (len(permitted.received), len(service.received)) == (1, 0)


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fd00:ec2::254"])
async def test_a_name_that_leads_to_a_private_address_is_not_called(
    call: Call, service: FakeService, names: dict[str, list[str]], address: str
) -> None:
    names["inner.test"] = [address]
    with pytest.raises(PermissionDenied, match=r"inner\.test leads to no address"):
        await call(**calling("inner.test", service))
    assert service.received == []


async def test_an_address_in_the_url_is_checked_too(call: Call, service: FakeService) -> None:
    with pytest.raises(PermissionDenied, match=r"may be connected to.*private_networks"):
        await call(**calling("127.0.0.1", service))
    assert service.received == []


@pytest.mark.parametrize("host", ["0x7f000001", "0x7f.1"])
async def test_a_number_that_some_take_for_an_address_is_not_called(
    call: Call, service: FakeService, host: str
) -> None:
    with pytest.raises((InvalidRequest, PermissionDenied)):
        await call(**calling(host, service, private_networks=THIS_MACHINE))
    assert service.received == []


async def test_ipv6_is_called_where_it_is_listed_and_admitted(call: Call, allowing: Allowing) -> None:
    async with FakeService().serving("::1") as service:
        assert (await call(url=service.url, settings=allowing(service))).phase is Phase.SUCCEEDED
        with pytest.raises(PermissionDenied, match="may be connected to"):
            await call(url=service.url, settings=allowing(service, private_networks=("127.0.0.0/8",)))
        assert len(service.received) == 1


async def test_behind_a_proxy_the_list_of_hosts_holds_and_names_are_the_proxys(
    call: Call, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``service`` is the proxy here: it is sent whole URLs, and answers for all hosts."""
    monkeypatch.setenv("HTTP_PROXY", service.url)
    settings = WebhookSettings(hosts=("http://inner.test", "http://10.0.0.5"))
    await call(url="http://inner.test/hook", settings=settings)
    assert service.last.headers["Host"] == "inner.test"
    with pytest.raises(PermissionDenied, match="is not among the hosts"):
        await call(url="http://other.test/hook", settings=settings)
    with pytest.raises(PermissionDenied, match="may be connected to"):
        await call(url="http://10.0.0.5/hook", settings=settings)
    assert len(service.received) == 1
