"""What every connector must do, of this one: a proxy before the platform loses, cuts, delays and spoils its answers."""

from __future__ import annotations

import pytest
from connectors import TaskTemplate
from connectors.testing.contract import SyncCase, SyncConnectorContract
from connectors.testing.faults import FaultProxy, Route

from connectors_acme import AcmeConfig, AcmeConnector, AcmeSettings
from tests.fake_acme import FakeAcme


class TestContract(SyncConnectorContract):
    @pytest.fixture
    def backend(self, fake: FakeAcme) -> str:
        return fake.url

    @pytest.fixture
    def case(self, proxy: FaultProxy, fake: FakeAcme) -> SyncCase:
        return SyncCase(
            build=lambda: AcmeConnector(AcmeSettings(endpoint=proxy.url)),
            task=TaskTemplate("acme", custom=AcmeConfig(operation="count").to_custom()),
            inputs={"words": ["a", "b"]},
            secrets={"acme_token": fake.token},
            calls=Route("POST", "/v1/calls"),
        )
