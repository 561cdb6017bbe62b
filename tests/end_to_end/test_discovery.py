"""What tools that others wrote see of a real server: health by grpcio's client, reflection by ``buf curl``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from demo.server_process import Server

SERVICES = [
    "flyteidl.service.AgentMetadataService",
    "flyteidl.service.AsyncAgentService",
    "flyteidl.service.SyncAgentService",
    "flyteidl2.connector.AsyncConnectorService",
    "flyteidl2.connector.ConnectorMetadataService",
]
BUF = Path(sys.executable).parent / "buf"


def buf(server: Server, *arguments: str) -> str:
    program = BUF if BUF.exists() else shutil.which("buf")
    assert program, "buf-bin is a development dependency"
    done = subprocess.run(
        [program, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_every_service_is_healthy(channel: grpc.Channel, service: str) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)  # its published types lack the methods
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_buf_lists_every_method(server: Server) -> None:
    methods = buf(server, "--list-methods", f"http://{server.address}").split()
    assert set(SERVICES) <= {method.rpartition("/")[0] for method in methods}
    assert "flyteidl2.connector.AsyncConnectorService/GetTaskLogs" in methods


@pytest.mark.parametrize("protocol", ["v1", "v1alpha"])
def test_buf_calls_a_method_by_its_reflected_types(server: Server, protocol: str) -> None:
    answer = buf(
        server,
        "--reflect-protocol",
        f"grpc-{protocol}",
        "--data",
        "{}",
        f"http://{server.address}/flyteidl.service.AgentMetadataService/ListAgents",
    )
    names = {agent["supportedTaskCategories"][0]["name"] for agent in json.loads(answer)["agents"]}
    assert names == {"bigquery_query_job_task", "greeter"}
