"""What every connector must do, of this one: a proxy before the platform loses, cuts, delays and spoils its answers."""

from __future__ import annotations

import pytest
from connectors import TaskTemplate
from connectors.testing.contract import SyncCase, SyncConnectorContract
from connectors.testing.faults import FaultProxy, Route

from connectors_acme import (
    AcmeConfig,
    AcmeConnector,
    AcmeSettings,
)
from tests.fake_acme import FakeAcme


class TestContract(SyncConnectorContract):
    @pytest.fixture
    def backend(self, fake: FakeAcme) -> str:
        return fake.url

    @pytest.fixture
    def case(self, proxy: FaultProxy, fake: FakeAcme) -> SyncCase:
        settings = AcmeSettings(endpoint=proxy.url)
        config = AcmeConfig(program="count")
        return SyncCase(
            build=lambda: AcmeConnector(settings),
            task=TaskTemplate("acme", custom=config.to_custom()),
            inputs={"words": ["a", "b"]},
            secrets={"acme_token": fake.token},
            calls=Route("POST", "/v1/calls"),
        )
