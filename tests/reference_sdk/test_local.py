"""Task classes of Flyte's own SDKs, unchanged but for the mixin, run in process and through a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors import HttpClient
from demo.server_process import running_server
from plugins.bigquery.tests.test_on_emulators import SLOW
from plugins.openai.tests.fake_openai import KEY
from tests.emulators.fixtures import llmock_url, local_bigquery_url
from tests.local.terminal import CTRL_C, on_terminal
from tests.reference_sdk.conftest import Platforms
from tests.reference_sdk.environment import FLYTE_SDK, FLYTEKIT
from tests.reference_sdk.programs import BEHIND, Program

__all__ = ["llmock_url", "local_bigquery_url"]
SDKS = {"flytekit": (FLYTEKIT, "inside_local.py"), "flyte": (FLYTE_SDK, "inside_local_flyte2.py")}
Run = Callable[..., Any]


def inside(sdk: str) -> Program:
    return Program.of(*SDKS[sdk])


@pytest.fixture(scope="module")
def variables(local_bigquery_url: str, llmock_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "BEHIND": BEHIND,
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
        return inside(sdk).result(what, address, variables=variables, folder=tmp_path)

    return started


async def rows(url: str, table: str) -> Any:
    """What is in a table of the emulator's."""
    project, name = table.removeprefix("bq://").split(":")
    address = "{}/bigquery/v2/projects/{}/datasets/{}/tables/{}/data".format(url, project, *name.split("."))
    async with HttpClient() as http:
        return (await http.request("GET", address)).json()["rows"]


both = pytest.mark.parametrize("sdk", SDKS)


@pytest.mark.anyio
async def test_a_flytekit_workflow_has_equal_outputs_in_process_and_through_a_server(
    run: Run, server: str, local_bigquery_url: str
) -> None:
    here, there = run("flytekit", "workflow"), run("flytekit", "workflow", server)
    assert here["table"] != there["table"]
    for outputs in (here, there):
        assert await rows(local_bigquery_url, outputs["table"]) == [{"f": [{"v": "7"}, {"v": "a"}]}]
    assert here["answer"] == there["answer"] != ""


@pytest.mark.anyio
async def test_a_flyte_task_has_equal_outputs_alone_under_a_parent_and_awaited_in_process_and_through_a_server(
    run: Run, server: str, local_bigquery_url: str
) -> None:
    tables = [*run("flyte", "success"), *run("flyte", "success", server)]
    assert len(set(tables)) == 6
    for table in tables:
        assert await rows(local_bigquery_url, table) == [{"f": [{"v": "7"}, {"v": "a"}]}]


@pytest.fixture(scope="module")
def of_the_fakes(platforms: Platforms, private_key: rsa.RSAPrivateKey, variables: dict[str, str]) -> dict[str, str]:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return {
        **variables,
        "OPENAI_BASE_URL": f"{platforms.openai.url}/v1",
        "FLYTE_OPENAI_API_KEY": KEY,
        "CONNECTORS_SNOWFLAKE__ENDPOINT": platforms.snowflake.url,
        "CONNECTORS_HTTP__HOSTS": platforms.service.url,
        "CONNECTORS_HTTP__PRIVATE_NETWORKS": "127.0.0.0/8",
        "_FSEC_SNOWFLAKE_PRIVATE_KEY": private_key.private_bytes(*form).decode(),
        "SERVICE": platforms.service.url,
    }


def test_a_snowflake_task_of_flytekit_s_returns_its_result(
    platforms: Platforms, of_the_fakes: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms.snowflake, "new_statement", {"status": "SUCCESS"})
    uri = inside("flytekit").result("statement", "", variables=of_the_fakes, folder=tmp_path)
    *_, made = platforms.snowflake.statements.values()
    assert uri == f"snowflake://loader:example-main/small/sales/PUBLIC/{made.handle}"
    assert made.body["bindings"] == {"1": {"type": "FIXED", "value": "5"}}


def test_a_batch_of_flytekit_s_returns_it(
    platforms: Platforms, of_the_fakes: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms.openai, "new_status", "completed")
    made = inside("flytekit").result("batch", "", variables=of_the_fakes, folder=tmp_path)
    assert made == list(platforms.openai.batches)[-1]


def test_a_webhook_of_flytekit_s_returns_what_came_back(
    platforms: Platforms, of_the_fakes: dict[str, str], tmp_path: Path
) -> None:
    assert inside("flytekit").result("call", "", variables=of_the_fakes, folder=tmp_path) == 200
    assert (platforms.service.last.method, platforms.service.last.target) == ("POST", "/teams/a%20b")


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
    program = f"import sys; sys.argv = ['', {by + SLOW!r}, '']; exec(open({str(there.path)!r}).read())"
    async with HttpClient() as http, on_terminal(program, variables=variables, python=there.python) as terminal:
        await terminal.shows("RUNNING")
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130, terminal.text
        await terminal.shows("deleted")
        answer = await http.request("GET", f"{local_bigquery_url}/bigquery/v2/projects/example-project/jobs")
    last = max(answer.json()["jobs"], key=lambda job: int(job["statistics"]["creationTime"]))
    assert last["status"]["errorResult"]["reason"] == "stopped"
