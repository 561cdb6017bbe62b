"""flytekit's own task classes, unchanged but for the mixin, run in process and through a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors import HttpClient
from demo.emulators import EmulatorUnavailable, environment_of
from demo.server_process import running_server
from plugins.bigquery.tests.test_on_emulators import SLOW
from tests.emulators.fixtures import llmock_url, local_bigquery_url
from tests.local.terminal import CTRL_C, on_terminal
from tests.reference_sdk.environment import FLYTEKIT

__all__ = ["llmock_url", "local_bigquery_url"]
INSIDE = Path(__file__).with_name("inside_local.py")
Run = Callable[..., Mapping[str, Any]]


@pytest.fixture(scope="module")
def python() -> str:
    """flytekit's."""
    try:
        return str(environment_of(FLYTEKIT) / "bin" / "python")
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
def run(python: str, variables: dict[str, str], tmp_path: Path) -> Run:
    def started(what: str, address: str = "") -> Mapping[str, Any]:
        done = subprocess.run(
            [python, INSIDE, what, address],
            env={"PATH": os.environ["PATH"], **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert lines, done.stderr
        result: Mapping[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
        return result

    return started


def test_a_workflow_runs_its_tasks_in_process_and_through_a_server_with_equal_outputs(run: Run, server: str) -> None:
    here, there = run("workflow"), run("workflow", server)
    for outputs in (here, there):
        assert outputs["table"].startswith("bq://example-project:")
    assert here["answer"] == there["answer"] != ""


def test_a_task_that_fails_raises_what_it_came_to(run: Run) -> None:
    failure = run("failure")
    assert failure["phase"] == "FAILED"
    assert "no_such_dataset was not found" in failure["message"]


def test_an_input_of_another_type_is_flytekit_s_own_error(run: Run) -> None:
    assert "int" in run("wrong input")["message"]


@pytest.mark.anyio
async def test_ctrl_c_stops_the_query(python: str, variables: dict[str, str], local_bigquery_url: str) -> None:
    program = f"import sys; sys.argv = ['', {SLOW!r}, '']; exec(open({str(INSIDE)!r}).read())"
    async with HttpClient() as http, on_terminal(program, variables=variables, python=python) as terminal:
        await terminal.shows("RUNNING")
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130, terminal.text
        await terminal.shows("deleted")
        answer = await http.request("GET", f"{local_bigquery_url}/bigquery/v2/projects/example-project/jobs")
    last = max(answer.json()["jobs"], key=lambda job: int(job["statistics"]["creationTime"]))
    assert last["status"]["errorResult"]["reason"] == "stopped"
