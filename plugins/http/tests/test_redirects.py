"""Where redirects lead, and what goes along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors import PermissionDenied, Phase
from connectors_http import WebhookSettings
from plugins.http.tests.conftest import Call
from plugins.http.tests.fake_service import FakeService, Reply

pytestmark = pytest.mark.anyio
Allowing = Callable[..., WebhookSettings]


async def test_a_redirect_is_not_followed_by_default(call: Call, service: FakeService) -> None:
    service.will_say(Reply.redirect("/next"))
    result = await call(method="GET")
    assert (result.phase, len(service.received)) == (Phase.FAILED, 1)
    assert "HTTP 302" in result.message


async def test_redirects_are_followed_as_far_as_the_setting_says(
    call: Call, service: FakeService, allowing: Allowing
) -> None:
    service.will_say(*(Reply.redirect(f"step-{n}") for n in range(3)))
    result = await call(url=f"{service.url}/a/b", method="GET", settings=allowing(service, redirects=2), show_url=True)
    assert (result.phase, [each.target for each in service.received]) == (
        Phase.FAILED,
        ["/a/b", "/a/step-0", "/a/step-1"],
    )
    result = await call(url=f"{service.url}/a/b", method="GET", settings=allowing(service, redirects=2), show_url=True)
    assert result.outputs == {"info": {"status_code": 200, "response_data": "", "url": f"{service.url}/a/b"}}


async def test_a_redirect_that_the_task_expects_is_its_answer(
    call: Call, service: FakeService, allowing: Allowing
) -> None:
    service.will_say(Reply.redirect("/next"))
    result = await call(expected_statuses=[302], settings=allowing(service, redirects=5))
    assert (result.phase, len(service.received)) == (Phase.SUCCEEDED, 1)


@pytest.mark.parametrize(
    "case",
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (302, "PUT", "PUT"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "HEAD", "HEAD"),
        (301, "DELETE", "DELETE"),
    ],
)
async def test_the_method_after_a_redirect_is_the_one_of_rfc_9110(
    call: Call, service: FakeService, allowing: Allowing, case: tuple[int, str, str]
) -> None:
    status, method, then = case
    service.will_say(Reply.redirect("/next", status))
    data = {} if method == "HEAD" else {"a": 1}
    await call(method=method, data=data, settings=allowing(service, redirects=1))
    assert service.last.method == then
    kept = then == method and method != "HEAD"
    assert service.last.body == (b'{"a":1}' if kept else b"")
    assert ("Content-Type" in service.last.headers) == kept
    assert ("Idempotency-Key" in service.last.headers) == (then == "POST")


async def test_a_redirect_leads_to_listed_hosts_alone(
    call: Call, service: FakeService, another: FakeService, allowing: Allowing
) -> None:
    service.will_say(Reply.redirect(f"{another.url}/next"))
    with pytest.raises(PermissionDenied, match=f"{another.url} is not among the hosts"):
        await call(settings=allowing(service, redirects=5))
    assert another.received == []


async def test_a_redirect_to_an_address_that_is_not_admitted_is_not_followed(
    call: Call, service: FakeService, allowing: Allowing
) -> None:
    """The host is listed; the address it leads to is on this machine, and 127.0.0.1 alone may be connected to."""
    async with FakeService().serving("127.0.0.2") as inner:
        service.will_say(Reply.redirect(f"{inner.url}/metadata"))
        settings = allowing(service, inner, redirects=5, private_networks=("127.0.0.1/32",))
        with pytest.raises(PermissionDenied, match="may be connected to"):
            await call(settings=settings)
        assert inner.received == []


@pytest.mark.parametrize(
    "location",
    [
        "http://user:invented@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "//2130706433/",
        "http://127.1/",
        "http://[::1/",
        "http://a.test\\@127.0.0.1/",
    ],
)
async def test_a_redirect_to_what_is_no_plain_url_is_not_followed(
    call: Call, service: FakeService, allowing: Allowing, location: str
) -> None:
    service.will_say(Reply.redirect(location))
    with pytest.raises(PermissionDenied, match="redirects to where webhooks may not go"):
        await call(settings=allowing(service, redirects=5))


async def test_what_identifies_the_caller_goes_to_the_first_host_alone(
    call: Call, service: FakeService, another: FakeService, allowing: Allowing
) -> None:
    settings = allowing(
        service, another, redirects=2, secret_hosts={"token": (service.url, another.url), "accept": (service.url,)}
    )
    headers = {
        "Authorization": "Bearer {secrets.token}",
        "X-Token": "literal",
        "Cookie": "a=b",
        "Accept": "{secrets.accept}",
        "Accept-Language": "en",
    }
    more: dict[str, Any] = {"method": "PUT", "headers": headers, "settings": settings}
    service.will_say(Reply.redirect("/again", 307), Reply.redirect(f"{another.url}/next", 307))
    await call(**more, secrets={"token": "invented-token", "accept": "invented-type"}, data={"a": 1})
    assert service.last.headers["Authorization"] == "Bearer invented-token"
    (sent,) = another.received
    assert (sent.method, sent.body, sent.headers["Accept-Language"]) == ("PUT", b'{"a":1}', "en")
    assert not {"Authorization", "X-Token", "Cookie"} & set(sent.headers)
    assert "invented" not in str(sent)


async def test_the_time_of_a_call_is_for_all_its_redirects(
    call: Call, service: FakeService, allowing: Allowing
) -> None:
    service.will_say(Reply.redirect("/next"), Reply(hangs=True))
    with pytest.raises(Exception, match=r"within 0\.[123]"):
        await call(timeout_sec=0.3, settings=allowing(service, redirects=5))
