"""The connector against a Databricks emulator that others wrote, whose runs are real processes."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from connectors import HttpClient, NotFound, Phase, Resource, TaskTemplate
from connectors.testing.contexts import NewContext
from connectors_databricks import DatabricksConnector, DatabricksRun, DatabricksSettings
from plugins.databricks.tests.conftest import Task

pytestmark = pytest.mark.anyio


class Platform:
    """The emulator, and the connector that speaks to it."""

    def __init__(self, url: str, http: HttpClient, new_context: NewContext, task: Task) -> None:
        self.place = url.removeprefix("http://")
        self.connector = DatabricksConnector(DatabricksSettings(instances=(url,), api_version="2.2"))
        self.new_context = new_context
        self._url = url
        self._http = http
        self._task = task

    async def script(self, code: str, *arguments: str) -> TaskTemplate:
        """A task whose code this is."""
        path = f"/Shared/{uuid4().hex}.py"
        content = base64.b64encode(code.encode()).decode()
        body = {"path": path, "format": "SOURCE", "language": "PYTHON", "content": content, "overwrite": True}
        answer = await self._http.request("POST", f"{self._url}/api/2.0/workspace/import", json=body)
        assert answer.status == 200, answer.text()
        conf = {"new_cluster": {"num_workers": 1}, "python_file": path}
        return self._task(conf, arguments=arguments or ("x",))

    async def run(self, task: TaskTemplate) -> tuple[DatabricksRun, Resource]:
        job = await self.connector.create(task, self.new_context())
        return job, await self.until(job, lambda shown: shown.phase.is_terminal)

    async def until(self, job: DatabricksRun, reached: Callable[[Resource], bool]) -> Resource:
        async with asyncio.timeout(60):
            while not reached(  # noqa: ASYNC110
                shown := await self.connector.get(job, self.new_context())
            ):
                await asyncio.sleep(0.05)  # the run is in another process: there is no event to wait for
        return shown

    async def log(self, job: DatabricksRun) -> list[str]:
        page = await self.connector.get_logs(job, self.new_context(), lines=0, token="")
        return [line.message for line in page.lines]


@pytest.fixture
async def platform(minilake_url: str, http: HttpClient, new_context: NewContext, task: Task) -> AsyncIterator[Platform]:
    platform = Platform(minilake_url, http, new_context, task)
    yield platform
    await platform.connector.aclose()


async def test_a_run_succeeds_with_its_arguments_and_variables_and_its_output_is_its_log(platform: Platform) -> None:
    code = "import os, sys\nprint(sys.argv[1:], os.environ['MODE'], os.environ['FLYTE_FAIL_ON_ERROR'])\nprint('done')"
    job, shown = await platform.run(await platform.script(code, "--day", "2024-01-02"))
    assert shown.phase is Phase.SUCCEEDED, shown.message
    assert await platform.log(job) == ["['--day', '2024-01-02'] daily true", "done"]
    assert shown.custom_info is not None
    assert {"started", "ended", "tasks", "result_state"} <= shown.custom_info.keys()


async def test_a_run_whose_code_fails_has_failed_and_its_log_says_why(platform: Platform) -> None:
    job, shown = await platform.run(await platform.script("print('begun')\nraise ValueError('no such day')"))
    assert shown.phase is Phase.FAILED
    log = await platform.log(job)
    assert log[0] == "begun"
    assert log[-1] == "ValueError: no such day"


async def test_a_cancelled_run_has_failed_once_its_process_ends(platform: Platform) -> None:
    task = await platform.script("import time\ntime.sleep(1)")
    job = await platform.connector.create(task, platform.new_context())
    await platform.until(job, lambda shown: shown.phase is Phase.RUNNING)
    await platform.connector.delete(job, platform.new_context())
    shown = await platform.until(job, lambda shown: shown.phase.is_terminal)
    assert shown.phase is Phase.FAILED
    assert shown.custom_info is not None
    assert shown.custom_info["result_state"] == "CANCELED"
    await platform.connector.delete(job, platform.new_context())  # once more, after its end


async def test_a_repeated_create_runs_its_code_once(platform: Platform, tmp_path: Path) -> None:
    key = str(uuid4())
    task = await platform.script("import sys, uuid\nopen(f'{sys.argv[1]}/{uuid.uuid4()}', 'w')", str(tmp_path))
    jobs = [await platform.connector.create(task, platform.new_context(key, adopt_within=60.0)) for _ in range(3)]
    await platform.until(jobs[0], lambda shown: shown.phase is Phase.SUCCEEDED)
    assert len(set(jobs)) == 1
    assert len(os.listdir(tmp_path)) == 1


async def test_a_missing_run_is_not_found_and_its_delete_is_quiet(platform: Platform) -> None:
    missing = DatabricksRun(platform.place, "987654321")
    with pytest.raises(NotFound):
        await platform.connector.get(missing, platform.new_context())
    await platform.connector.delete(missing, platform.new_context())
