"""Runs as tasks in Python, with the installed plugin, and token and workspace in the environment."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors import Container, HttpClient, Phase
from connectors.local import RunOptions, TaskFailed, TaskTimedOut
from connectors_databricks import DatabricksConfig, DatabricksTask
from plugins.databricks.tests.fake_databricks import TOKEN, FakeDatabricks
from tests.local.terminal import interrupted_while_running

pytestmark = pytest.mark.anyio
ARGUMENTS = ("{{.input}}", "{{.outputPrefix}}", "--v={{.inputs.v}}")


class Workspace:
    """The emulator, whose runs are processes of this machine."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self.variables = {
            "CONNECTORS_DATABRICKS__INSTANCES": url,
            "CONNECTORS_DATABRICKS__API_VERSION": "2.2",
            "FLYTE_DATABRICKS_ACCESS_TOKEN": TOKEN,
        }
        self._url = url
        self._http = http

    async def script(self, code: str) -> Mapping[str, Any]:
        """A conf that runs this."""
        path = f"/Shared/{uuid4().hex}.py"
        content = base64.b64encode(code.encode()).decode()
        body = {"path": path, "format": "SOURCE", "language": "PYTHON", "content": content, "overwrite": True}
        answer = await self._http.request("POST", f"{self._url}/api/2.0/workspace/import", json=body)
        assert answer.status == 200, answer.text()
        return {"new_cluster": {"num_workers": 1}, "python_file": path}

    async def fate(self, run_id: str) -> str:
        """How the run ended, once it has."""
        async with asyncio.timeout(30):
            while True:
                answer = await self._http.request("GET", f"{self._url}/api/2.2/jobs/runs/get?run_id={run_id}")
                state = answer.json()["state"]
                if state["life_cycle_state"] == "TERMINATED":
                    return str(state["result_state"])
                await asyncio.sleep(0.1)  # the run is in another process: there is no event to wait for


@pytest.fixture
def workspace(minilake_url: str, http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    workspace = Workspace(minilake_url, http)
    for name, value in workspace.variables.items():
        monkeypatch.setenv(name, value)
    return workspace


def run(conf: Mapping[str, Any], *, prefix: Path | None = None, timeout: float | None = None) -> DatabricksTask:
    return DatabricksTask(
        "daily",
        DatabricksConfig(databricks_conf=conf),
        container=Container(image="registry.example/daily:1", args=ARGUMENTS if prefix else ("x",)),
        inputs={"v": int},
        outputs={"v": int} if prefix else {},
        local_run=RunOptions(str(prefix) if prefix else None, timeout=timeout, poll_interval=0.1),
    )


async def test_a_run_reads_its_inputs_and_writes_its_outputs_under_the_prefix(
    workspace: Workspace, tmp_path: Path
) -> None:
    code = """
import shutil, sys
assert sys.argv[3] == "--v=7", sys.argv
shutil.copy(sys.argv[1], f"{sys.argv[2]}/outputs.pb")  # both files have the same form
"""
    assert await run(await workspace.script(code), prefix=tmp_path).run(v=7) == 7
    assert sorted(os.listdir(tmp_path / os.listdir(tmp_path)[0])) == ["inputs.pb", "outputs.pb"]


async def test_a_run_that_writes_no_outputs_fails_the_task(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match=r"outputs\.pb does not exist"):
        await run(await workspace.script("print('done')"), prefix=tmp_path).run(v=7)


async def test_a_run_whose_code_fails_fails_the_task(workspace: Workspace) -> None:
    outcome = await run(await workspace.script("raise ValueError('no such day')")).outcome(v=7)
    assert outcome.phase is Phase.FAILED


async def test_a_retryable_failure_ends_the_run(databricks: FakeDatabricks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_DATABRICKS__INSTANCES", databricks.url)
    monkeypatch.setenv("FLYTE_DATABRICKS_ACCESS_TOKEN", TOKEN)
    databricks.new_run = {"state": {"life_cycle_state": "INTERNAL_ERROR", "state_message": "The driver is gone."}}
    outcome = await run({"existing_cluster_id": "0101-120000-abc"}).outcome(v=7)
    assert (outcome.phase, len(databricks.runs), databricks.count("cancel")) == (Phase.RETRYABLE_FAILED, 1, 0)


async def test_a_run_that_takes_too_long_is_cancelled(workspace: Workspace) -> None:
    task = run(await workspace.script("import time\ntime.sleep(3)"), timeout=1.5)
    with pytest.raises(TaskTimedOut) as raised:
        await task.run(v=7)
    run_id = json.loads(raised.value.outcome.meta)["run_id"]
    assert await workspace.fate(run_id) == "CANCELED"


async def test_ctrl_c_cancels_the_run(workspace: Workspace) -> None:
    conf = await workspace.script("import time\ntime.sleep(4)")
    make = f"""
from connectors import Container
from connectors_databricks import *
config, container = DatabricksConfig(databricks_conf={dict(conf)!r}), Container(args=("x",))
task = DatabricksTask("daily", config, container=container, local_run=local_run)
"""
    meta = await interrupted_while_running(make, **workspace.variables)
    assert await workspace.fate(meta["run_id"]) == "CANCELED"
