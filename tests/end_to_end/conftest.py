"""A real server process with the BigQuery plugin over an emulator, called by Flyte's own clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from demo.server_process import Server, running_server
from tests.emulators.fixtures import crucible_url, local_bigquery_url
from tests.registry.distributions import write_distribution

__all__ = ["crucible_url", "local_bigquery_url"]

GREETER = """
from connectors import InvalidRequest, Phase, Resource, ResourceError, SyncConnectorBase

class Greeter(SyncConnectorBase):
    task_type = "greeter"

    async def do(self, task, ctx):
        if "name" not in ctx.inputs:
            raise InvalidRequest("the input 'name' is missing")
        if ctx.inputs["name"] == "nobody":
            return Resource(Phase.FAILED, "nobody is here", error=ResourceError("Nobody", origin="USER"))
        return Resource(Phase.SUCCEEDED, outputs={"o0": f"hello {ctx.inputs['name']}"})
"""


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    write_distribution(folder, "connectors-greeter", GREETER, entry_points={"greeter": "Greeter"})
    return folder


@pytest.fixture(scope="session", params=["crucible_url", "local_bigquery_url"], ids=["crucible", "local-bigquery"])
def emulator(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture(scope="session")
def server(emulator: str, plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # whatever else is installed beside the project is not part of these tests
    variables = {
        "BIGQUERY_EMULATOR_HOST": emulator,
        "PYTHONPATH": str(plugins),
        "CONNECTORS_ALLOW_PLUGINS": "bigquery,greeter",
    }
    with running_server(tmp_path_factory.mktemp("server"), port=0, metrics_port=0, variables=variables) as running:
        yield running


@pytest.fixture(scope="session")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel
