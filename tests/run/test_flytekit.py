"""What Flyte 1's own commands write: ``pyflyte serialize`` and ``pyflyte package``, of the real flytekit."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from benchmarks.reference.services import install_reference
from connectors._run.mistakes import Mistake
from connectors._run.task_file import read_task
from demo.emulators import EmulatorUnavailable
from tests.run.conftest import Command

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]  # the first test may make the environment

WORKFLOW = """
from flytekit import workflow
from flytekit.core.base_sql_task import SQLTask
from flytekit.models.task import Sql
from flytekit.types.structured import StructuredDataset


class Query(SQLTask):
    def get_custom(self, settings):
        return {"ProjectID": "my-project", "Location": "US"}

    def get_sql(self, settings):
        return Sql(statement=self.query_template, dialect=Sql.Dialect.ANSI)


answer = Query(
    name="orders.answer",
    query_template="SELECT 40 + 2 AS answer",
    task_type="bigquery_query_job_task",
    outputs={"results": StructuredDataset},
)


@workflow
def daily() -> StructuredDataset:
    return answer()
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what both commands write of a workflow with a task: ``serialised/``, ``packaged/``."""
    try:
        environment = install_reference()
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("flytekit")
    (folder / "orders").mkdir()
    (folder / "orders" / "__init__.py").write_text("", "utf-8")
    (folder / "orders" / "daily.py").write_text(WORKFLOW, "utf-8")
    (folder / "serialised").mkdir()
    pyflyte = [str(environment / "bin" / "pyflyte"), "--pkgs", "orders"]
    for arguments in (
        ["serialize", "--image", "example/image:1", "workflows", "-f", "serialised"],
        ["package", "--image", "example/image:1", "-o", "package.tgz", "-f"],
    ):
        done = subprocess.run(
            [*pyflyte, *arguments],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(folder / "package.tgz") as archive:
        archive.extractall(folder / "packaged", filter="data")
    return folder


@pytest.mark.parametrize("kind", ["serialised", "packaged"])
async def test_a_task_is_run_as_flytekit_wrote_it(
    written: Path, command: Command, crucible_url: str, kind: str
) -> None:
    command.variables["BIGQUERY_EMULATOR_HOST"] = crucible_url
    done = await command("run", written / kind / "0_orders.answer_1.pb", "--json")
    assert done.code == 0, done.err
    assert done.json["outputs"]["results"]["uri"].startswith("bq://my-project:")
    assert json.loads(done.json["meta"])["project"] == "my-project"
    assert [link["name"] for link in done.json["log_links"]] == ["BigQuery Console"]


@pytest.mark.parametrize("name", ["1_orders.daily.daily_2.pb", "2_orders.daily.daily_3.pb"])
def test_a_workflow_and_a_launch_plan_are_no_tasks(written: Path, name: str) -> None:
    with pytest.raises(Mistake, match=r"of what pyflyte serialises, tasks are the files …_1\.pb"):
        read_task(written / "serialised" / name)


def test_a_package_has_to_be_unpacked(written: Path) -> None:
    with pytest.raises(Mistake, match="is an archive; unpack it"):
        read_task(written / "package.tgz")
