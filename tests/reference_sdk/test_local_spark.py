"""Function tasks of Flyte's own SDKs, whose jobs are on Databricks, unchanged but for the mixin: the emulator's run is
the SDK's own command, which calls the function.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors import HttpClient
from demo.server_process import running_server
from tests.emulators.fixtures import minilake_url
from tests.reference_sdk.environment import FLYTE_SDK, FLYTEKIT
from tests.reference_sdk.programs import BEHIND, Program

__all__ = ["minilake_url"]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]  # the first test may make the environment
SETTINGS = {
    "CONNECTORS_DATABRICKS__API_VERSION": "2.2",
    "CONNECTORS_DATABRICKS__SPARK": "true",
    "FLYTE_DATABRICKS_ACCESS_TOKEN": "an invented token",
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture(scope="module")
def settings(minilake_url: str) -> dict[str, str]:
    return {**SETTINGS, "CONNECTORS_DATABRICKS__INSTANCES": minilake_url}


@pytest.fixture(scope="module")
def server(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server"), port=0, metrics_port=0, variables=settings) as running:
        yield running.address


async def variables(program: Program, url: str, settings: dict[str, str], folder: Path) -> dict[str, str]:
    """Of a program whose task's job, too, runs in the SDK's environment."""
    path = f"/Shared/{folder.name}.py"
    found = {
        "BEHIND": BEHIND,
        "HOME": str(folder),
        "INSTANCE": url.removeprefix("http://"),
        "PREFIX": str(folder / "out"),
        "CONF": json.dumps({"run_name": "daily", "new_cluster": {"num_workers": 1}, "python_file": path}),
    }
    command = [program.python, str(program.path.with_name("inside_job.py"))]
    its_own = {**found, "DATABRICKS_RUNTIME_VERSION": "15.4"}
    code = f"import os, sys\nos.execve({program.python!r}, [*{command!r}, *sys.argv[1:]], {its_own!r})\n"
    content = base64.b64encode(code.encode()).decode()
    body = {"path": path, "format": "SOURCE", "language": "PYTHON", "content": content, "overwrite": True}
    async with HttpClient() as http:
        answer = await http.request("POST", f"{url}/api/2.0/workspace/import", json=body)
    assert answer.status == 200, answer.text()
    return {**found, **settings}


async def test_a_flytekit_function_is_called_in_its_job_with_equal_outputs_in_process_and_through_a_server(
    minilake_url: str, server: str, settings: dict[str, str], tmp_path: Path
) -> None:
    program = Program.of(FLYTEKIT, "inside_local_spark.py")
    surroundings = await variables(program, minilake_url, settings, tmp_path)
    for address in ("", server):
        assert program.result("DatabricksV2", address, variables=surroundings, folder=tmp_path) == "14 by 15.4"


async def test_a_flytekit_function_of_the_older_config_whose_task_type_is_spark_is_called_in_its_job_too(
    minilake_url: str, settings: dict[str, str], tmp_path: Path
) -> None:
    program = Program.of(FLYTEKIT, "inside_local_spark.py")
    surroundings = await variables(program, minilake_url, settings, tmp_path)
    assert program.result("Databricks", "", variables=surroundings, folder=tmp_path) == "14 by 15.4"


async def test_a_flyte_function_is_called_in_its_job_with_equal_outputs_in_process_and_through_a_server(
    minilake_url: str, server: str, settings: dict[str, str], tmp_path: Path
) -> None:
    program = Program.of(FLYTE_SDK, "inside_local_flyte2_spark.py")
    surroundings = await variables(program, minilake_url, settings, tmp_path)
    for address in ("", server):
        assert program.result(address, variables=surroundings, folder=tmp_path) == ["14 by 15.4"] * 2


async def test_a_function_task_without_an_output_prefix_says_what_it_needs(
    minilake_url: str, settings: dict[str, str], tmp_path: Path
) -> None:
    program = Program.of(FLYTEKIT, "inside_local_spark.py")
    surroundings = await variables(program, minilake_url, settings, tmp_path)
    message = program.result("DatabricksV2", "no prefix", variables=surroundings, folder=tmp_path)
    assert "{{.input}} needs an output prefix" in message
    assert "RunOptions(output_prefix=…)" in message
