"""Secrets in headers: which, where to, and where they are not to be seen."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from connectors import FailedPrecondition, PermissionDenied
from connectors.secrets import remember
from connectors_http import WebhookSettings
from plugins.http.tests.conftest import Call
from plugins.http.tests.fake_service import FakeService, Reply

pytestmark = pytest.mark.anyio
Allowing = Callable[..., WebhookSettings]
HEADERS = {"Authorization": "Bearer {secrets.crm-token}"}
SECRETS = {"crm-token": "invented-token"}


@pytest.fixture
def trusting(service: FakeService, allowing: Allowing) -> WebhookSettings:
    return allowing(service, secret_hosts={"crm-token": (service.url,)})


async def test_a_header_carries_a_secret(call: Call, service: FakeService, trusting: WebhookSettings) -> None:
    await call(headers=HEADERS, secrets=SECRETS, settings=trusting)
    assert service.last.headers["Authorization"] == "Bearer invented-token"


async def test_a_secret_that_the_operator_did_not_list_is_not_looked_up(call: Call, service: FakeService) -> None:
    with pytest.raises(PermissionDenied, match="'crm-token' is not one that webhooks may send"):
        await call(headers=HEADERS, secrets=SECRETS)
    assert service.received == []


async def test_for_a_host_that_is_not_listed_no_secret_is_looked_up(
    call: Call, service: FakeService, another: FakeService, allowing: Allowing
) -> None:
    settings = allowing(another, secret_hosts={"crm-token": (service.url,)})
    with pytest.raises(PermissionDenied, match="is not among the hosts"):
        await call(headers=HEADERS, settings=settings)  # it is nowhere, which nobody finds out


async def test_a_secret_goes_to_its_own_hosts_alone(
    call: Call, service: FakeService, another: FakeService, allowing: Allowing
) -> None:
    settings = allowing(service, another, secret_hosts={"crm-token": (service.url,)})
    with pytest.raises(PermissionDenied, match=f"'crm-token' may not be sent to {another.url}"):
        await call(url=another.url, headers=HEADERS, secrets=SECRETS, settings=settings)
    assert another.received == []


async def test_a_secret_of_an_encrypted_host_is_not_sent_unencrypted(
    call: Call, service: FakeService, allowing: Allowing
) -> None:
    settings = allowing(service, secret_hosts={"crm-token": (service.place,)})
    with pytest.raises(PermissionDenied, match="'crm-token' may not be sent to http://"):
        await call(headers=HEADERS, secrets=SECRETS, settings=settings)


async def test_a_secret_that_is_nowhere_is_named(call: Call, trusting: WebhookSettings) -> None:
    with pytest.raises(FailedPrecondition, match="'crm-token'"):
        await call(headers=HEADERS, settings=trusting)


async def test_a_secret_adds_no_header(call: Call, service: FakeService, trusting: WebhookSettings) -> None:
    with pytest.raises(FailedPrecondition, match="'crm-token' holds characters") as refused:
        await call(headers=HEADERS, secrets={"crm-token": "invented\r\nX-Admin: yes"}, settings=trusting)
    assert "invented" not in str(refused.value)
    assert service.received == []


async def test_a_line_break_at_a_secrets_end_is_left_out(
    call: Call, service: FakeService, trusting: WebhookSettings
) -> None:
    await call(headers=HEADERS, secrets={"crm-token": "invented-token\n"}, settings=trusting)
    assert service.last.headers["Authorization"] == "Bearer invented-token"


@pytest.mark.parametrize("status", [200, 400])
async def test_a_secret_that_the_service_repeats_is_not_handed_on(
    call: Call, service: FakeService, trusting: WebhookSettings, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service.will_say(Reply.of({"you sent": "Bearer invented-token"}, status))
    result = await call(headers=HEADERS, secrets=SECRETS, settings=trusting, show_data=True, show_url=True)
    assert "[secret]" in str(result)
    assert "invented-token" not in str(result) + caplog.text


async def test_data_that_happens_to_be_another_calls_secret_is_handed_on(
    call: Call, service: FakeService, trusting: WebhookSettings
) -> None:
    remember("7361928")
    service.will_say(Reply.of({"id": 7361928, "you sent": "invented-token"}, 200))
    result = await call(headers=HEADERS, secrets=SECRETS, settings=trusting)
    assert result.outputs is not None
    assert result.outputs["info"]["response_json"] == {"id": 7361928, "you sent": "[secret]"}
