"""What every connector must do, of this one."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping

import pytest

from connectors import Context, HttpClient, Secrets
from connectors.secrets import RequestSecrets
from connectors.testing.contract import AsyncCase, AsyncConnectorContract, SyncCase, json_members
from connectors.testing.faults import Fault, FaultProxy, Route
from connectors_databricks import DatabricksConnector, DatabricksRun, DatabricksSettings
from plugins.databricks.tests.conftest import Task
from plugins.databricks.tests.fake_databricks import CLIENT_ID, CLIENT_SECRET, TOKEN, FakeDatabricks

RUNS = "/api/2[.]1/jobs/runs"
HOST = "example.cloud.databricks.com"
METAS = [
    DatabricksRun(HOST, "1"),
    DatabricksRun(HOST, "1", namespace="sales-production"),
    DatabricksRun(HOST, "1", auth_type="secret", oauth_secret_name="team-token", namespace="sales-production"),
    DatabricksRun(HOST, "1", auth_type="oauth_m2m", client_id="2b1d", oauth_secret_name="team-oauth"),
]
OLDER_METAS = {
    # flytekit's, to 1.16.19 and from 1.16.31 on
    b'{"databricks_instance": "h", "run_id": "1", "auth_token": "t"}': DatabricksRun("h", "1", "t"),
    b'{"databricks_instance": "h", "run_id": "1", "auth_token": "t", "auth_type": "pat", "client_id": null, '
    b'"oauth_secret_name": "databricks-oauth", "oidc_token_file": null, "oidc_service_account": null, '
    b'"oidc_audience": null, "namespace": "ns"}': DatabricksRun(
        "h", "1", "t", auth_type="pat", oauth_secret_name="databricks-oauth", namespace="ns"
    ),
    # flyte-sdk's
    b'{"databricks_instance": "h", "run_id": "1"}': DatabricksRun("h", "1"),
}


def error_body(status: int) -> bytes:
    return json.dumps({"error_code": "", "message": "scripted: asked for"}).encode()


class TestContract(AsyncConnectorContract):
    @pytest.fixture
    def backend(self, databricks: FakeDatabricks) -> str:
        return databricks.url

    @pytest.fixture
    def settings(self, proxy: FaultProxy) -> DatabricksSettings:
        return DatabricksSettings(instances=(proxy.url,))

    @pytest.fixture
    def brought(self) -> Mapping[str, str]:
        """The request's secrets."""
        return {"databricks_token": TOKEN}

    @pytest.fixture
    def case(
        self,
        proxy: FaultProxy,
        databricks: FakeDatabricks,
        task: Task,
        settings: DatabricksSettings,
        brought: Mapping[str, str],
    ) -> AsyncCase:
        place = proxy.url.removeprefix("http://")
        return AsyncCase(
            build=lambda: DatabricksConnector(settings),
            task=task(),
            secrets=brought,
            jobs=databricks.runs_under,
            creates=Route("POST", f"{RUNS}/submit"),
            gets=Route("GET", f"{RUNS}/get"),
            cancels=Route("POST", f"{RUNS}/cancel"),
            unknown=DatabricksRun(place, "1"),
            metas=METAS,
            older_metas=OLDER_METAS,
            unknown_state=json_members(life_cycle_state="HIBERNATING"),
            error_body=error_body,
            hostile_metas=lambda address: [
                DatabricksRun(address, "1"),
                DatabricksRun(f"https://{address}", "1"),
                DatabricksRun(f"http://{address}", "1", auth_token="theirs"),
                DatabricksRun(f"{place}@{address}", "1"),
                DatabricksRun(f"{place}/../{address}", "1"),
                DatabricksRun(f"{place}\r\nHost: {address}", "1"),
                DatabricksRun("", "1/../../secrets"),
                DatabricksRun(place, "1&x=1"),
                DatabricksRun(place, ""),
                DatabricksRun(place, "\u0661"),  # a digit, and none of ASCII's
                DatabricksRun(place, "1" * 20),
                DatabricksRun(place, "1", auth_type="basic"),
            ],
            hostile_tasks=lambda address: [
                task(databricksInstance=address),
                task(databricksInstance=f"{place}@{address}"),
                task(databricksInstance=f"{place}/x?"),
                task(databricksAuthType="oidc_federation", databricksOidcTokenFile="/etc/passwd"),
            ],
        )


class TestContractWithTheSdk(TestContract):
    """With credentials that the SDK signs in with, in threads."""

    async def test_a_server_that_ends_leaves_no_open_request(
        self, case: AsyncCase | SyncCase, http: HttpClient, proxy: FaultProxy
    ) -> None:
        """A thread that the SDK holds cannot be ended, so its request stays; neither the call nor the end waits."""
        proxy.set_fault(Fault("hang"))
        connector = case.build()
        ctx = Context(http=http, secrets=Secrets([RequestSecrets(case.secrets)]), deadline=math.inf)
        assert isinstance(connector, DatabricksConnector)
        call = asyncio.ensure_future(connector.create(case.task, ctx))
        await proxy.until_open()
        _ = call.cancel()
        async with asyncio.timeout(20.0):
            with pytest.raises(asyncio.CancelledError):
                await call
            await connector.aclose()

    @pytest.fixture
    def settings(self, proxy: FaultProxy) -> DatabricksSettings:
        return DatabricksSettings(instances=(proxy.url,), auth_type="oauth-m2m", client_id=CLIENT_ID)

    @pytest.fixture
    def brought(self) -> Mapping[str, str]:
        return {"databricks_client_secret": CLIENT_SECRET}
