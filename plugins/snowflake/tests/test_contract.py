"""What every connector must do, of this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from connectors import TaskTemplate
from connectors.testing.contract import AsyncCase, AsyncConnectorContract, json_members
from connectors.testing.faults import FaultProxy, ProxiedRequest, Route
from connectors_snowflake import SnowflakeConnector, SnowflakeJob, SnowflakeSettings
from plugins.snowflake.tests.conftest import CONNECTION, KeyPairOf
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake

STATEMENTS = "/api/v2/statements"
JOB = SnowflakeJob(**CONNECTION, query_id="01b2c3d4-0000-1111-2222-000000000001", has_output=True)
METAS = [
    JOB,
    replace(JOB, has_output=False),
    replace(JOB, connection_kwargs={"role": "LOADER", "session_parameters": {"QUERY_TAG": "t"}}),
    replace(JOB, secret_names={"snowflake_private_key": "TEAM_KEY"}),
    replace(JOB, secret_references={"snowflake_private_key": "project:sales"}),
]
FIELDS = (
    '"account": "example-main", "user": "loader", "database": "sales", "schema": "PUBLIC", "warehouse": "small", '
    '"query_id": "01b2c3d4-0000-1111-2222-000000000001", "has_output": true'
)
OLDER_METAS = {
    f"{{{FIELDS}}}".encode(): JOB,  # flytekit's
    # flyte-sdk's
    f'{{{FIELDS}, "connection_kwargs": null}}'.encode(): JOB,
    f'{{{FIELDS}, "connection_kwargs": {{}}}}'.encode(): replace(JOB, connection_kwargs={}),
    f'{{{FIELDS}, "connection_kwargs": {{"role": "R"}}}}'.encode(): replace(JOB, connection_kwargs={"role": "R"}),
}


def submits(request: ProxiedRequest) -> bool:
    """Not the look-ups, which are statements too."""
    return Route("POST", STATEMENTS)(request) and "async" in request.query


def error_body(status: int) -> bytes:
    return json.dumps({"code": f"390{status}", "message": "scripted: asked for"}).encode()


class TestContract(AsyncConnectorContract):
    @pytest.fixture
    def backend(self, snowflake: FakeSnowflake) -> str:
        return snowflake.url

    @pytest.fixture
    def case(
        self,
        proxy: FaultProxy,
        snowflake: FakeSnowflake,
        query: Callable[..., TaskTemplate],
        secret: Mapping[str, str],
        key_pair: KeyPairOf,
    ) -> AsyncCase:
        def finish(key: str) -> None:
            for statement in snowflake.with_key(key):
                statement.status = "SUCCESS"

        settings = SnowflakeSettings(endpoint=proxy.url, accounts=("example-main",))
        return AsyncCase(
            build=lambda: SnowflakeConnector(settings),
            task=query(),
            secrets=secret,
            secret_values=key_pair.plain.splitlines()[1:-1],
            jobs=lambda key: len(snowflake.with_key(key)),
            creates=submits,
            gets=Route("GET", f"{STATEMENTS}/[^/]+"),
            cancels=Route("POST", f"{STATEMENTS}/[^/]+/cancel"),
            unknown=JOB,
            metas=METAS,
            older_metas=OLDER_METAS,
            unknown_state=json_members(code="333399"),
            # what the SQL API does not know is looked up in the history
            errors={"get": {404: None}},
            error_body=error_body,
            finish=finish,
            hostile_metas=lambda address: [
                replace(JOB, query_id="../../../other"),
                replace(JOB, query_id=""),
                replace(JOB, query_id="a" * 65),
                replace(JOB, query_id="a?x=1"),
                replace(JOB, query_id="a\r\nX-Evil: 1"),
                replace(JOB, account="another-account"),
                replace(JOB, account=f"{address}/"),
                replace(JOB, account=f"example-main@{address}"),
                replace(JOB, account=""),
                replace(JOB, secret_names={"snowflake_private_key": "../etc/passwd"}),
                replace(JOB, secret_references={"snowflake_private_key": "files:/etc/passwd"}),
                replace(JOB, connection_kwargs={"authenticator": f"https://{address}"}),
            ],
            hostile_tasks=lambda address: [
                query(account=f"{address}/"),
                query(account="another-account"),
                query(connection_kwargs={"host": address}),
                query(connection_kwargs={"authenticator": f"https://{address}"}),
            ],
        )
