"""Calls run as tasks in Python, with the installed plugin and its settings in the environment."""

from __future__ import annotations

import pytest

from connectors import PermissionDenied, Phase, Unavailable
from connectors.local import TaskFailed
from connectors_http import WebhookConfig, WebhookTask
from plugins.http.tests.fake_service import FakeService, Reply

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def allowed(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_HTTP__HOSTS", service.url)
    monkeypatch.setenv("CONNECTORS_HTTP__PRIVATE_NETWORKS", "127.0.0.0/8")


def call(service: FakeService) -> WebhookTask:
    config = WebhookConfig(
        url=f"{service.url}/orders/{{inputs.number}}", data={"state": "{inputs.state}"}, outputs={"id": "/id"}
    )
    return WebhookTask(
        "notify",
        config,
        inputs={"number": int, "state": str},
        outputs={"id": int},
    )


async def test_a_call_returns_its_answer_and_what_it_takes_from_it(service: FakeService) -> None:
    service.will_say(Reply.of({"id": 17}))
    outputs = await call(service).run(number=7, state="paid")
    assert (outputs["id"], outputs["info"]["status_code"]) == (17, 200)
    assert (service.last.method, service.last.target) == ("POST", "/orders/7")
    assert service.last.body == b'{"state":"paid"}'


async def test_a_call_that_the_service_refuses_fails_the_task(service: FakeService) -> None:
    service.will_say(Reply.of({}, status=422))
    with pytest.raises(TaskFailed, match="422") as raised:
        await call(service).run(number=7, state="paid")
    assert raised.value.outcome.phase is Phase.FAILED


async def test_a_service_that_cannot_answer_now_is_an_error_and_a_post_is_not_repeated(service: FakeService) -> None:
    service.will_say(Reply(503))
    with pytest.raises(Unavailable, match="503"):
        await call(service).run(number=7, state="paid")
    assert len(service.received) == 1


async def test_a_host_that_is_not_listed_is_not_called(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_HTTP__HOSTS", "api.example.com")
    with pytest.raises(PermissionDenied):
        await call(service).run(number=7, state="paid")
    assert not service.received
