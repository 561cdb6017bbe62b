"""What every connector must do, as tests that a plugin's own tests inherit. It needs pytest, and anyio's plugin to it.

A plugin's tests derive a class, and say in two fixtures what platform there is and how its jobs are counted; each fact
is then a test of the plugin's. Between the connector and the platform stands a
:class:`connectors.testing.faults.FaultProxy`, which loses, cuts, delays and spoils the answers::

    import pytest

    from acme import AcmeConnector, AcmeJob, AcmeSettings
    from connectors import TaskTemplate
    from connectors.testing.contract import AsyncCase, AsyncConnectorContract, json_members
    from connectors.testing.faults import FaultProxy, Route

    METAS = [AcmeJob("j-1")]                                   # as this release writes them
    OLDER_METAS = {b'{"job_id": "j-1"}': AcmeJob("j-1")}       # as others wrote them

    class TestContract(AsyncConnectorContract):
        @pytest.fixture
        def backend(self, acme: FakeAcme) -> str:              # an emulator's URL, or a fake's
            return acme.url

        @pytest.fixture
        def case(self, proxy: FaultProxy, acme: FakeAcme) -> AsyncCase:
            return AsyncCase(
                build=lambda: AcmeConnector(AcmeSettings(url=proxy.url)),
                task=TaskTemplate("acme", custom={"program": "x"}),
                secrets={"acme_token": "an-invented-token"},
                jobs=lambda key: sum(job.key == key for job in acme.jobs),
                creates=Route("POST", "/v1/jobs"),
                gets=Route("GET", "/v1/jobs/[^/]+"),
                cancels=Route("POST", "/v1/jobs/[^/]+/cancel"),
                unknown=AcmeJob("j-0"),
                metas=METAS,
                older_metas=OLDER_METAS,
                unknown_state=json_members(state="ASLEEP"),
                hostile_metas=lambda address: [AcmeJob(f"@{address}/"), AcmeJob("../tokens")],
            )

A sync connector's class derives from :class:`SyncConnectorContract`, and its case is a :class:`SyncCase`. A fixture of
the suite's (``proxy``, ``http``) may be replaced by one of the same name. The facts are about one connector, called as
the service calls it: no server runs, and nothing is retried but what a fact says.
"""

import pytest

# Without this a failed assert would not show the values that it compared. It has to come before the imports.
pytest.register_assert_rewrite(
    "connectors.testing.contract._answers",
    "connectors.testing.contract._conduct",
    "connectors.testing.contract._jobs",
    "connectors.testing.contract._metas",
)

from connectors.testing.contract._case import OWNER, AsyncCase, Errors, SyncCase, json_members  # noqa: E402
from connectors.testing.contract._suites import AsyncConnectorContract, SyncConnectorContract  # noqa: E402

__all__ = [
    "OWNER",
    "AsyncCase",
    "AsyncConnectorContract",
    "Errors",
    "SyncCase",
    "SyncConnectorContract",
    "json_members",
]
