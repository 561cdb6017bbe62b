"""The facts of the contract suite, for a service behind a proxy that spoils its answers."""

from __future__ import annotations

import pytest

from connectors import Interface, LiteralType, TaskTemplate, Unavailable
from connectors.testing.contract import SyncCase, SyncConnectorContract
from connectors.testing.faults import FaultProxy, Route
from connectors_http import WebhookConnector, WebhookSettings
from plugins.http.tests.conftest import THIS_MACHINE
from plugins.http.tests.fake_service import FakeService

FAILS_THE_TASK = dict.fromkeys((400, 401, 403, 404, 409))


class TestContract(SyncConnectorContract):
    @pytest.fixture
    def backend(self, service: FakeService) -> str:
        return service.url

    @pytest.fixture
    def case(self, proxy: FaultProxy) -> SyncCase:
        def task(**custom: object) -> TaskTemplate:
            interface = Interface(outputs={"info": LiteralType("struct")})
            return TaskTemplate("webhook", custom={"url": f"{proxy.url}/hook", **custom}, interface=interface)

        settings = WebhookSettings(
            hosts=(proxy.url,),
            private_networks=THIS_MACHINE,
            secret_hosts={"hook-token": (proxy.url,)},
            redirects=3,
        )
        headers = {"Authorization": "Bearer {secrets.hook-token}"}
        return SyncCase(
            build=lambda: WebhookConnector(settings),
            task=task(headers=headers, data={"text": "hello"}),
            secrets={"hook-token": "an-invented-token"},
            calls=Route("POST", "/hook"),
            any_body=True,  # whatever a service says is its answer
            errors={"do": {**FAILS_THE_TASK, 500: Unavailable, 502: Unavailable, 503: Unavailable}},
            hostile_tasks=lambda address: [
                task(url=f"http://{address}/", headers=headers),
                task(url=f"{proxy.url}@{address}/", headers=headers),
                task(url=f"{proxy.url}\\@{address}/", headers=headers),
                task(url=f"{proxy.url}/\r\nHost: {address}", headers=headers),
                task(headers={**headers, "Host": address}),
                task(headers={**headers, "X": "{secrets.another}"}),
            ],
        )
