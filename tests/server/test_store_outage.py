"""``connectors serve`` without its store: degraded, not dead. The store is a real Redis server, killed and started."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from prometheus_client.parser import text_string_to_metric_families

from tests.server.calls import channel, create, get, health, stub
from tests.server.conftest import Serve
from tests.server.processes import ServerProcess
from tests.stores.redis_server import RedisServer, available, redis_server

PATIENCE = 60.0  # seconds; a busy machine is no fault of the server's
PASSWORD = "not-a-real-one"
KEY = [("idempotency-key", "the same")]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    reason = available()
    if reason:
        pytest.skip(reason)
    options = ("--appendonly", "yes", "--appendfsync", "always", "--requirepass", PASSWORD)
    with redis_server(tmp_path / "redis", *options) as server:
        yield server


def url_of(redis: RedisServer) -> str:
    return f"redis://:{PASSWORD}@127.0.0.1:{redis.port}/0"


def page(server: ServerProcess, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(server.metrics + path, timeout=30) as answer:  # noqa: S310 - http, and our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metric(server: ServerProcess, name: str) -> float | None:
    families = text_string_to_metric_families(page(server, "/metrics")[1])
    samples = (sample for family in families for sample in family.samples)
    return next((sample.value for sample in samples if sample.name == name), None)


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def is_degraded(server: ServerProcess) -> bool:
    status, text = page(server, "/readyz")
    assert status == 200
    return text.startswith("degraded: the idempotency store is out of reach for ")


def is_serving(server: ServerProcess) -> bool:
    with channel(server.address) as opened:
        answer = health(opened).Check(health_pb2.HealthCheckRequest(), timeout=30)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_a_server_starts_without_its_store_and_is_ready_once_it_is_there(
    serve: Serve, redis: RedisServer, gates: Path
) -> None:
    redis.kill()
    server = serve(f"--store={url_of(redis)}")
    assert is_degraded(server)
    assert page(server, "/healthz") == (200, "ok\n")
    assert is_serving(server)
    assert metric(server, "flyte_connector_store_up") == 0
    assert metric(server, "flyte_connector_store_outages_total") == 1
    redis.start()
    until(lambda: page(server, "/readyz") == (200, "ready\n"))
    assert metric(server, "flyte_connector_store_up") == 1
    (gates / "create").touch()
    with channel(server.address) as opened:
        assert stub(opened).CreateTask(create(), timeout=30).resource_meta


def test_polls_go_on_without_the_store_and_its_return_needs_no_restart(
    serve: Serve, redis: RedisServer, gates: Path
) -> None:
    for gate in ("create", "get"):
        (gates / gate).touch()
    server = serve(f"--store={url_of(redis)}")
    with channel(server.address) as opened:
        meta = stub(opened).CreateTask(create(), timeout=30, metadata=KEY).resource_meta
        assert page(server, "/readyz") == (200, "ready\n")
        redis.kill()
        assert stub(opened).GetTask(get(), timeout=30).resource.phase == 3
        until(lambda: is_degraded(server))
        assert is_serving(server)
        assert stub(opened).GetTask(get(), timeout=30).resource.phase == 3
        redis.start()
        until(lambda: page(server, "/readyz") == (200, "ready\n"))
        assert stub(opened).CreateTask(create(), timeout=30, metadata=KEY).resource_meta == meta
    assert metric(server, "flyte_connector_store_outages_total") == 1
    lost = server.logged(event="store_out_of_reach")
    assert (lost["level"], server.logged(event="store_back")["level"]) == ("error", "warning")
    assert sum(line.get("event") == "store_out_of_reach" for line in server.lines) == 1
    assert server.logged(event="store")["store"] == f"redis://127.0.0.1:{redis.port}/0"
    assert not any(PASSWORD in str(line) for line in server.lines)


def test_a_store_that_would_forget_records_stops_the_start(serve: Serve, tmp_path: Path, redis: RedisServer) -> None:
    with redis_server(tmp_path / "evicts", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as evicts:
        server = serve(f"--store={evicts.url}")
        line = server.wrote("connectors: --store: ")
        assert "allkeys-lru" in line
        assert server.wait() == 1


def check(url: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("connectors")), "check", "--allow-plugins=bigquery"]
    return subprocess.run([*command, f"--store={url}"], capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_check_tells_a_store_that_is_out_of_reach(redis: RedisServer) -> None:
    assert "ok    store: can be opened" in check(url_of(redis)).stdout
    redis.kill()
    result = check(url_of(redis))
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if " store: " in line]
    assert line.startswith("FAULT store: --store: ")
    assert "a server would start all the same" in line
    assert PASSWORD not in result.stdout + result.stderr


def test_check_tells_a_store_that_refuses_the_password(redis: RedisServer) -> None:
    result = check(url_of(redis).replace(PASSWORD, "another-one"))
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if " store: " in line]
    assert line.startswith("FAULT store: --store: ")
    assert "start all the same" not in line
