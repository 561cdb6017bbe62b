"""How a statement that is run locally ends, and what becomes of it: on the fake, whose statements end as they are told,
and on a Snowflake that others wrote, whose asynchronous statements run until they are cancelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from connectors import HttpClient
from connectors.local import RunOptions
from connectors_snowflake import SnowflakeConfig, SnowflakeTask
from plugins.snowflake.tests.conftest import CONNECTION, KeyPairOf
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake
from tests.local.endings import Ending, Run, run_to_its_end

pytestmark = pytest.mark.anyio
CANCELLED = {"code": "000604", "sqlState": "57014"}


def statement(sql: str = "SELECT 1", *, timeout: float | None = None, **inputs: type) -> SnowflakeTask:
    options = RunOptions(timeout=timeout, poll_interval=0.1)
    return SnowflakeTask("s", sql, SnowflakeConfig(**CONNECTION), inputs=inputs, local_run=options)


ON_THE_FAKE = [
    Run(Ending.SUCCESS, statement("SELECT %(v)s", v=int), "SUCCESS", {"v": 7}, given={"status": "SUCCESS"}),
    Run(Ending.FAILURE, statement(), "ABORTED", given={"status": "ABORTED", "code": "000630"}),  # its own time-out
    Run(Ending.RETRYABLE, statement(), "ABORTED", given={"status": "ABORTED", "code": "000603"}),  # an inner error
    Run(Ending.TIMEOUT, statement(timeout=1.0), "ABORTED"),
    Run(Ending.CTRL_C, statement(), "ABORTED"),
]
ON_THE_EMULATOR = [
    Run(Ending.TIMEOUT, statement(timeout=1.0), CANCELLED),
    Run(Ending.CTRL_C, statement(), CANCELLED),
]


def variables_of(url: str, key_pair: KeyPairOf, monkeypatch: pytest.MonkeyPatch, **more: str) -> Mapping[str, str]:
    """For a program, and set for this process."""
    found = {"CONNECTORS_SNOWFLAKE__ENDPOINT": url, "_FSEC_SNOWFLAKE_PRIVATE_KEY": key_pair.plain, **more}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.mark.parametrize("run", ON_THE_FAKE, ids=str)
async def test_a_local_run_ends_and_so_does_its_statement(
    run: Run, snowflake: FakeSnowflake, key_pair: KeyPairOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    if run.given is not None:
        snowflake.new_statement = run.given
    meta = json.loads(await run_to_its_end(run, variables=variables_of(snowflake.url, key_pair, monkeypatch)))
    (made,) = snowflake.statements.values()
    assert (made.handle, made.status) == (meta["query_id"], run.fate)
    is_cancelled = any(call.operation == "cancel" for call in snowflake.calls)
    assert is_cancelled is (run.ending in {Ending.TIMEOUT, Ending.CTRL_C})


@pytest.mark.parametrize("run", ON_THE_EMULATOR, ids=str)
async def test_a_local_run_that_is_broken_off_cancels_its_statement(
    run: Run, snowduck_url: str, key_pair: KeyPairOf, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps_no_history = {"CONNECTORS_SNOWFLAKE__LOOK_UP_FIRST": "false"}
    variables = variables_of(snowduck_url, key_pair, monkeypatch, **keeps_no_history)
    meta = json.loads(await run_to_its_end(run, variables=variables))
    assert await fate(http, snowduck_url, meta) == run.fate


async def fate(http: HttpClient, url: str, meta: dict[str, Any]) -> dict[str, Any]:
    """What the emulator tells anybody of the statement."""
    told = (await http.request("GET", f"{url}/api/v2/statements/{meta['query_id']}")).json()
    return {name: told[name] for name in CANCELLED}
