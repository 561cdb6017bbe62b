"""Task classes of Flyte's own SDKs, unchanged but for the mixin, run in process and through a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors import HttpClient
from demo.emulators import EmulatorUnavailable, environment_of
from demo.server_process import running_server
from plugins.bigquery.tests.test_on_emulators import SLOW
from tests.emulators.fixtures import llmock_url, local_bigquery_url
from tests.local.terminal import CTRL_C, on_terminal
from tests.reference_sdk.environment import FLYTE_SDK, FLYTEKIT

__all__ = ["llmock_url", "local_bigquery_url"]
SDKS = {"flytekit": (FLYTEKIT, "inside_local.py"), "flyte": (FLYTE_SDK, "inside_local_flyte2.py")}
Run = Callable[..., Any]


@dataclass(frozen=True)
class Inside:
    """A program, and the Python of the SDK's environment."""

    python: str
    program: Path


def inside(sdk: str) -> Inside:
    recipe, program = SDKS[sdk]
    try:
        return Inside(str(environment_of(recipe) / "bin" / "python"), Path(__file__).with_name(program))
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def variables(local_bigquery_url: str, llmock_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "BEHIND": json.dumps([each for each in sys.path if each]),
        "BIGQUERY_EMULATOR_HOST": local_bigquery_url,
        "OPENAI_BASE_URL": f"{llmock_url}/v1",
        "FLYTE_OPENAI_API_KEY": "sk-an-invented-key",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def server(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    kept = {name: value for name, value in variables.items() if name not in {"BEHIND", "HOME"}}
    with running_server(tmp_path_factory.mktemp("server"), port=0, metrics_port=0, variables=kept) as running:
        yield running.address


@pytest.fixture
def run(variables: dict[str, str], tmp_path: Path) -> Run:
    def started(sdk: str, what: str, address: str = "") -> Any:
        there = inside(sdk)
        done = subprocess.run(
            [there.python, there.program, what, address],
            env={"PATH": os.environ["PATH"], **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert lines, done.stderr
        return json.loads(lines[0].removeprefix("RESULT "))

    return started


both = pytest.mark.parametrize("sdk", SDKS)


def test_a_flytekit_workflow_runs_its_tasks_in_process_and_through_a_server_alike(run: Run, server: str) -> None:
    here, there = run("flytekit", "workflow"), run("flytekit", "workflow", server)
    for outputs in (here, there):
        assert outputs["table"].startswith("bq://example-project:")
    assert here["answer"] == there["answer"] != ""


def test_a_flyte_task_runs_alone_under_a_parent_and_awaited_in_process_and_through_a_server(
    run: Run, server: str
) -> None:
    for tables in (run("flyte", "success"), run("flyte", "success", server)):
        assert [each.partition(".")[0] for each in tables] == ["bq://example-project:_results"] * 3


@both
def test_a_task_that_fails_raises_what_it_came_to(run: Run, sdk: str) -> None:
    failure = run(sdk, "failure")
    assert failure["phase"] == "FAILED"
    assert "no_such_dataset was not found" in failure["message"]


def test_an_input_of_another_type_is_flytekit_s_own_error(run: Run) -> None:
    assert "int" in run("flytekit", "wrong input")["message"]


@pytest.mark.parametrize(("sdk", "by"), [("flytekit", ""), ("flyte", ""), ("flyte", "flyte.run ")])
@pytest.mark.anyio
async def test_ctrl_c_stops_the_query(variables: dict[str, str], local_bigquery_url: str, sdk: str, by: str) -> None:
    there = inside(sdk)
    program = f"import sys; sys.argv = ['', {by + SLOW!r}, '']; exec(open({str(there.program)!r}).read())"
    async with HttpClient() as http, on_terminal(program, variables=variables, python=there.python) as terminal:
        await terminal.shows("RUNNING")
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130, terminal.text
        await terminal.shows("deleted")
        answer = await http.request("GET", f"{local_bigquery_url}/bigquery/v2/projects/example-project/jobs")
    last = max(answer.json()["jobs"], key=lambda job: int(job["statistics"]["creationTime"]))
    assert last["status"]["errorResult"]["reason"] == "stopped"
