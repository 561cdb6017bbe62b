"""Statements run as tasks in Python, with the installed plugin, and key and address in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors import FailedPrecondition, Phase, StructuredDataset
from connectors.local import RunOptions, TaskFailed, TaskTimedOut
from connectors_snowflake import SnowflakeConfig, SnowflakeTask
from plugins.snowflake.tests.conftest import CONNECTION, KeyPairOf
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake
from tests.local.terminal import interrupted_while_running

pytestmark = pytest.mark.anyio


@pytest.fixture
def environment(snowflake: FakeSnowflake, key_pair: KeyPairOf, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables = {"CONNECTORS_SNOWFLAKE__ENDPOINT": snowflake.url, "_FSEC_SNOWFLAKE_PRIVATE_KEY": key_pair.plain}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def statement(sql: str = "SELECT %(v)s", *, timeout: float | None = None, **more: Any) -> SnowflakeTask:
    options = RunOptions(poll_interval=0.1, timeout=timeout)
    return SnowflakeTask("s", sql, SnowflakeConfig(**CONNECTION), local_run=options, **{"inputs": {"v": int}, **more})


@pytest.mark.usefixtures("environment")
async def test_a_statement_returns_the_address_of_its_result(snowflake: FakeSnowflake) -> None:
    snowflake.new_statement = {"status": "SUCCESS"}
    result = await statement().run(v=7)
    (made,) = snowflake.statements.values()
    assert isinstance(result, StructuredDataset)
    assert result.uri == f"snowflake://loader:example-main/small/sales/PUBLIC/{made.handle}"
    assert [each["value"] for each in made.body["bindings"].values()] == ["7"]


@pytest.mark.usefixtures("environment")
async def test_a_statement_without_rows_returns_nothing(snowflake: FakeSnowflake) -> None:
    snowflake.new_statement = {"status": "SUCCESS"}
    assert await statement("DELETE FROM t", inputs={}, returns_rows=False).run() is None


@pytest.mark.usefixtures("environment")
async def test_a_statement_that_fails_raises_snowflake_s_words(snowflake: FakeSnowflake) -> None:
    snowflake.new_statement = {"status": "ABORTED", "code": "000630", "message": "Statement reached its timeout."}
    with pytest.raises(TaskFailed, match="reached its timeout") as raised:
        await statement().run(v=7)
    assert raised.value.outcome.phase is Phase.FAILED


@pytest.mark.usefixtures("environment")
async def test_a_retryable_failure_ends_the_run(snowflake: FakeSnowflake) -> None:
    snowflake.new_statement = {"status": "ABORTED", "code": "000603", "message": "Internal error."}
    outcome = await statement().outcome(v=7)
    assert (outcome.phase, len(snowflake.statements)) == (Phase.RETRYABLE_FAILED, 1)


@pytest.mark.usefixtures("environment")
async def test_a_statement_that_takes_too_long_is_cancelled(snowflake: FakeSnowflake) -> None:
    with pytest.raises(TaskTimedOut):
        await statement(timeout=1.0).run(v=7)
    assert [each.status for each in snowflake.statements.values()] == ["ABORTED"]


async def test_ctrl_c_cancels_the_statement(snowflake: FakeSnowflake, environment: dict[str, str]) -> None:
    make = f"""
from connectors_snowflake import *
task = SnowflakeTask("s", "SELECT 1", SnowflakeConfig(**{CONNECTION!r}), local_run=local_run)
"""
    meta = await interrupted_while_running(make, **environment)
    (made,) = snowflake.statements.values()
    assert (made.handle, made.status) == (meta["query_id"], "ABORTED")


async def test_a_statement_is_cancelled_on_a_snowflake_that_others_wrote(
    snowduck_url: str, key_pair: KeyPairOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONNECTORS_SNOWFLAKE__ENDPOINT", snowduck_url)
    monkeypatch.setenv("CONNECTORS_SNOWFLAKE__LOOK_UP_FIRST", "false")
    monkeypatch.setenv("_FSEC_SNOWFLAKE_PRIVATE_KEY", key_pair.plain)
    outcome = await statement("SELECT 1", timeout=1.0, inputs={}).outcome()
    assert (outcome.timed_out, outcome.job_left, outcome.phase) == (True, False, Phase.RUNNING)


async def test_a_secret_may_be_a_file(
    snowflake: FakeSnowflake, key_pair: KeyPairOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "snowflake_private_key").write_text(key_pair.plain)
    monkeypatch.setenv("CONNECTORS_SNOWFLAKE__ENDPOINT", snowflake.url)
    monkeypatch.setenv("CONNECTORS_SECRET_FOLDERS", str(tmp_path))
    snowflake.new_statement = {"status": "SUCCESS"}
    assert isinstance(await statement().run(v=7), StructuredDataset)


async def test_a_secret_that_is_nowhere_is_named(snowflake: FakeSnowflake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_SNOWFLAKE__ENDPOINT", snowflake.url)
    with pytest.raises(FailedPrecondition, match="snowflake_private_key"):
        await statement().run(v=7)
