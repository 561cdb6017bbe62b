"""How a local run of a task ends, on an emulator that others wrote, and what becomes of its run there."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from uuid import uuid4

import pytest

from connectors import Container, HttpClient
from connectors.local import RunOptions
from connectors.testing.faults import Fault, FaultProxy, Route
from connectors_databricks import DatabricksConfig, DatabricksTask
from plugins.databricks.tests.fake_databricks import TOKEN
from tests.local.endings import Ending, Run, run_to_its_end

pytestmark = pytest.mark.anyio


def script(code: str, *, timeout: float | None = None) -> tuple[DatabricksTask, str]:
    """A task, and the code that it runs."""
    conf = {"new_cluster": {"num_workers": 1}, "python_file": f"/Shared/{uuid4().hex}.py"}
    options = RunOptions(timeout=timeout, poll_interval=0.1)
    config, container = DatabricksConfig(databricks_conf=conf), Container(args=("x",))
    return DatabricksTask("daily", config, container=container, local_run=options), code


def interrupted(run: bytes) -> bytes:
    """What the emulator says of a run that is over, as Databricks says it of one whose driver was lost."""
    changed = json.loads(run)
    if changed["state"]["life_cycle_state"] == "TERMINATED":
        changed["state"] = {"life_cycle_state": "INTERNAL_ERROR", "state_message": "The driver is gone."}
        changed.pop("status", None)
    return json.dumps(changed).encode()


LOSES_ITS_DRIVER = Fault("rewrite", Route("GET", ".*/runs/get"), rewrite=interrupted)


def ends(ending: Ending, of: tuple[DatabricksTask, str], fate: str, fault: Fault | None = None) -> Run:
    return Run(ending, of[0], fate, given=(of[1], fault))


RUNS = [
    ends(Ending.SUCCESS, script("print('done')"), "SUCCESS"),
    ends(Ending.FAILURE, script("raise ValueError('no such day')"), "FAILED"),
    ends(Ending.RETRYABLE, script("print('done')"), "SUCCESS", LOSES_ITS_DRIVER),
    # a run that is cancelled shows it once its process ends
    ends(Ending.TIMEOUT, script("import time\ntime.sleep(4)", timeout=2.0), "CANCELED"),
    ends(Ending.CTRL_C, script("import time\ntime.sleep(4)"), "CANCELED"),
]


@pytest.mark.parametrize("run", RUNS, ids=str)
async def test_a_local_run_ends_and_so_does_the_one_on_databricks(
    run: Run, minilake_url: str, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, fault = run.given
    await upload(http, minilake_url, run.task.connector_task().custom["databricksConf"]["python_file"], code)
    async with FaultProxy(minilake_url) as proxy:
        if fault is not None:
            proxy.set_fault(fault)
        variables = {
            "CONNECTORS_DATABRICKS__INSTANCES": proxy.url,
            "CONNECTORS_DATABRICKS__API_VERSION": "2.2",
            "FLYTE_DATABRICKS_ACCESS_TOKEN": TOKEN,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        meta = json.loads(await run_to_its_end(run, variables=variables))
        submits = proxy.seen(Route("POST", ".*/runs/submit"))
        cancels = proxy.seen(Route("POST", ".*/runs/cancel"))
    assert len(submits) == 1
    assert bool(cancels) is (run.ending in {Ending.TIMEOUT, Ending.CTRL_C})
    assert await fate(http, minilake_url, meta) == run.fate


async def upload(http: HttpClient, url: str, path: str, code: str) -> None:
    content = base64.b64encode(code.encode()).decode()
    body = {"path": path, "format": "SOURCE", "language": "PYTHON", "content": content, "overwrite": True}
    answer = await http.request("POST", f"{url}/api/2.0/workspace/import", json=body)
    assert answer.status == 200, answer.text()


async def fate(http: HttpClient, url: str, meta: dict[str, Any]) -> str:
    """How the run ended, once it has."""
    async with asyncio.timeout(30):
        while True:
            answer = await http.request("GET", f"{url}/api/2.2/jobs/runs/get?run_id={meta['run_id']}")
            state = answer.json()["state"]
            if state["life_cycle_state"] == "TERMINATED":
                return str(state["result_state"])
            await asyncio.sleep(0.1)  # the run is in another process: there is no event to wait for
