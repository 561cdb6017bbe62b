"""The output prefix: on this machine, and on an S3 that others wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from connectors import FailedPrecondition, NotFound
from connectors.local._prefix import OutputPrefix
from demo.emulators import MOTO, environment_of

IN_S3 = """
import json, sys
sys.path += sys.argv[2:]  # behind the project's own packages: what those are without
import asyncio, fsspec
from connectors import *
from connectors.local import *
from connectors.local._prefix import OutputPrefix
from connectors._messages.local_values import outputs_file, read_inputs_file
from tests.local.words import Silent

def told(coroutine):
    try:
        return asyncio.run(coroutine)
    except ConnectorError as error:
        return f"{type(error).__name__}: {error.message}"

args = ("{{.outputPrefix}}",)
task = ConnectorTask("t", "silent", inputs={"v": int}, outputs={"o0": list[str]}, container=Container(args=args))

async def run():
    place = OutputPrefix(f"{sys.argv[1]}/run")
    await place.write("outputs.pb", outputs_file({"o0": ["written", "there"]}, task.connector_task().interface))
    async with InProcess(connectors=[Silent()]) as via:
        return await run_task(task.connector_task(), {"v": 7}, via=via, output_prefix=place.url)

outcome = told(run())
print(json.dumps({
    "outputs": outcome.outputs,
    "inputs": read_inputs_file(fsspec.open(f"{sys.argv[1]}/run/inputs.pb").open().read()),
    "meta": json.loads(outcome.meta),
    "missing": told(OutputPrefix(f"{sys.argv[1]}/empty").read("outputs.pb")),
    "no_bucket": told(OutputPrefix("s3://no-such-bucket/a").write("inputs.pb", b"")),
    "no_store": told(OutputPrefix("nothing://a/b").read("outputs.pb")),
}))
"""


def test_an_s3_is_written_and_read(s3_url: str, tmp_path: Path) -> None:
    made = urllib.request.Request(f"{s3_url}/runs", method="PUT")  # noqa: S310 - an address of this machine
    with urllib.request.urlopen(made) as answer:  # noqa: S310 - as above
        assert answer.status == 200
    extra = [str(each) for each in environment_of(MOTO).glob("lib/python*/site-packages")]
    variables = {
        "AWS_ENDPOINT_URL": s3_url,
        "AWS_ACCESS_KEY_ID": "invented",
        "AWS_SECRET_ACCESS_KEY": "invented",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", IN_S3, "s3://runs/daily", *extra],
        env={name: os.environ[name] for name in os.environ if name.startswith("COVERAGE")} | variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outputs"] == {"o0": ["written", "there"]}
    assert found["inputs"] == {"v": 7}
    assert found["meta"] == {"args": ["s3://runs/daily/run"]}
    assert found["missing"] == "NotFound: s3://runs/daily/empty/outputs.pb does not exist"
    assert "s3://no-such-bucket/a/inputs.pb" in found["no_bucket"]
    assert found["no_store"].startswith("FailedPrecondition: nothing://a/b/outputs.pb cannot be read: ")


@pytest.mark.anyio
async def test_a_folder_is_made_when_it_is_written(tmp_path: Path) -> None:
    place = OutputPrefix(f"{tmp_path}/a/b/")
    await place.write("inputs.pb", b"data")
    assert (tmp_path / "a/b/inputs.pb").read_bytes() == b"data"
    assert await place.read("inputs.pb") == b"data"


@pytest.mark.anyio
async def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"outputs\.pb does not exist"):
        await OutputPrefix(str(tmp_path)).read("outputs.pb")


@pytest.mark.anyio
async def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "outputs.pb").mkdir()
    with pytest.raises(FailedPrecondition, match="cannot be read: IsADirectoryError"):
        await OutputPrefix(str(tmp_path)).read("outputs.pb")


def test_a_relative_path_is_where_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert OutputPrefix("runs").url == str(tmp_path / "runs")


def test_without_fsspec_the_error_says_what_to_install() -> None:
    code = """
import asyncio, sys
sys.modules["fsspec"] = None  # as where it is not installed
from connectors import FailedPrecondition
from connectors.local._prefix import OutputPrefix
try:
    asyncio.run(OutputPrefix("s3://bucket/run").read("outputs.pb"))
except FailedPrecondition as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'connectors-service[local]'" in done.stdout, done.stderr
