"""The compose stack, while it runs with the profile demo: ``make compose-test`` brings it up and runs this.

pytest does not find this file by itself: it needs an engine for containers, which ``make test`` does without.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import urllib.parse
import urllib.request
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deploy.queries import DEPLOY, alerts

GRPC = ("127.0.0.1:8000", "127.0.0.1:8001")
METRICS = ("http://127.0.0.1:9090", "http://127.0.0.1:9091")
PROMETHEUS = "http://127.0.0.1:9092"
_PATIENCE = 60.0  # seconds, in which Prometheus has found and scraped both


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of this machine
        text: str = answer.read().decode()
    return text


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*shlex.split(os.environ.get("COMPOSE", "docker compose")), *arguments]
    return subprocess.run(command, cwd=DEPLOY.parent, capture_output=True, text=True, timeout=120, check=False)


def asked(path: str, **parameters: str) -> Any:
    return json.loads(read(f"{PROMETHEUS}{path}?{urllib.parse.urlencode(parameters)}"))["data"]


@pytest.mark.parametrize("url", METRICS)
def test_each_server_is_ready_and_reaches_the_store(url: str) -> None:
    assert read(f"{url}/readyz").startswith("ready")
    assert "\nflyte_connector_store_up 1.0\n" in read(f"{url}/metrics")


@pytest.mark.parametrize("url", METRICS)
def test_each_server_has_a_page_for_people(url: str) -> None:
    assert "<title>" in read(f"{url}/")


@pytest.mark.parametrize("address", GRPC)
def test_each_server_says_over_grpc_that_it_serves(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_two_ports_are_two_servers() -> None:
    names = {compose("exec", "--index", index, "connectors", "cat", "/etc/hostname").stdout for index in ("1", "2")}
    assert len(names - {""}) == 2
    started = {line for url in METRICS for line in read(f"{url}/metrics").splitlines() if "process_start_time" in line}
    assert len([line for line in started if not line.startswith("#")]) == 2


def test_prometheus_scrapes_both() -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        found = asked("/api/v1/query", query='up{job="connectors"}')["result"]
        up = {each["metric"]["instance"] for each in found if each["value"][1] == "1"}
        if len(up) == 2 or time.monotonic() > until:
            break
        time.sleep(1.0)
    assert len(up) == 2


def test_prometheus_has_every_alert() -> None:
    groups = asked("/api/v1/rules", type="alert")["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == {rule["alert"] for rule in alerts()}


@pytest.mark.parametrize("service", ["connectors", "redis", "prometheus", "bigquery-emulator", "connectors-demo"])
def test_nothing_runs_as_root_or_can_write_to_its_image(service: str) -> None:
    user = compose("exec", service, "id", "-u")
    assert user.stdout.strip().isdecimal(), user.stderr
    assert user.stdout.strip() != "0"
    written = compose("exec", service, "sh", "-c", "echo x > /usr/x || echo x > /etc/x")
    assert "Read-only file system" in written.stdout + written.stderr


def test_a_task_runs_to_its_end_against_the_emulator() -> None:
    done = compose("--profile", "demo", "run", "--rm", "demo-task")
    assert done.returncode == 0, done.stderr
    assert "SUCCEEDED" in done.stderr
