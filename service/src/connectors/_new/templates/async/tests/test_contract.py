"""What every connector must do, of this one: a proxy before the platform loses, cuts, delays and spoils its answers."""

from __future__ import annotations

import pytest
from connectors import TaskTemplate
from connectors.testing.contract import AsyncCase, AsyncConnectorContract, json_members
from connectors.testing.faults import FaultProxy, Route

from connectors_acme import (
    AcmeConfig,
    AcmeConnector,
    AcmeJob,
    AcmeSettings,
)
from tests.fake_acme import FakeAcme

# as this release writes them, and as each release so far wrote them
METAS = [AcmeJob("job-1")]
OLDER_METAS = {b'{"job_id": "job-1"}': AcmeJob("job-1")}


class TestContract(AsyncConnectorContract):
    @pytest.fixture
    def backend(self, fake: FakeAcme) -> str:
        return fake.url

    @pytest.fixture
    def case(self, proxy: FaultProxy, fake: FakeAcme) -> AsyncCase:
        settings = AcmeSettings(endpoint=proxy.url)
        config = AcmeConfig(program="hang")
        return AsyncCase(
            build=lambda: AcmeConnector(settings),
            task=TaskTemplate("acme", custom=config.to_custom()),
            secrets={"acme_token": fake.token},
            jobs=lambda key: len(fake.of_key(key)),
            creates=Route("POST", "/v1/jobs"),
            gets=Route("GET", "/v1/jobs/[^/]+"),
            cancels=Route("POST", "/v1/jobs/[^/]+/cancel"),
            unknown=AcmeJob("job-0"),
            metas=METAS,
            older_metas=OLDER_METAS,
            unknown_state=json_members(state="ASLEEP"),
            hostile_metas=lambda address: [
                AcmeJob("../tokens"),
                AcmeJob("job-1?x=1"),
                AcmeJob(f"@{address}/"),
            ],
        )
