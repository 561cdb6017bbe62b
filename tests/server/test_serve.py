"""``connectors serve`` while it runs."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from prometheus_client.parser import text_string_to_metric_families

from tests.registry.distributions import write_distribution
from tests.server.calls import META, channel, create, get, get_metrics, health, stub
from tests.server.conftest import Serve
from tests.server.processes import INSTALLED, ServerProcess


def page(server: ServerProcess, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(server.metrics + path, timeout=30) as answer:  # noqa: S310 - http, and our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metric(server: ServerProcess, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(page(server, "/metrics")[1])
    samples = (sample for family in families for sample in family.samples)
    return next((sample.value for sample in samples if sample.name == name and sample.labels == labels), None)


def test_it_says_in_one_line_where_it_listens(serve: Serve) -> None:
    server = serve()
    line = server.logged(event="ready")
    assert line["message"] == f"listening on {line['address']} with metrics on {line['metrics']}"
    assert line["pid"] == server.pid
    assert not line["address"].endswith(":0")


def test_the_console_line_is_the_same(serve: Serve) -> None:
    server = serve("--log-format=console", "--store=memory://")
    assert " INFO    listening on 127.0.0.1:" in server.wrote("listening on")


def test_a_job_is_created_and_polled_to_its_end(serve: Serve, gates: Path) -> None:
    (gates / "create").touch()
    (gates / "get").touch()
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        meta = stub(opened).CreateTask(create(), timeout=30).resource_meta
        assert b"job_id" in meta
        assert stub(opened).GetTask(get(), timeout=30).resource.phase == 3


def test_calls_are_counted_on_the_metrics_port(serve: Serve, gates: Path) -> None:
    (gates / "get").touch()
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        stub(opened).GetTask(get(), timeout=30)
        with pytest.raises(grpc.RpcError):
            stub(opened).GetTask(get("no such type"), timeout=30)
        unknown: Any = opened.unary_unary("/a.B/C")
        with pytest.raises(grpc.RpcError):
            unknown(b"", timeout=30)
    call = {"task_type": "gated", "operation": "get"}
    assert metric(server, "flyte_connector_requests_success_total", **call) == 1
    assert metric(server, "flyte_connector_request_latency_seconds_count", **call) == 1
    failed = {"task_type": "unknown", "operation": "get", "error_code": "NOT_FOUND"}
    assert metric(server, "flyte_connector_requests_failure_total", **failed) == 1
    assert metric(server, "flyte_connector_rejected_total", method="unknown", reason="unknown_method") == 1


def test_a_call_under_way_is_on_the_metrics_port(serve: Serve, gates: Path) -> None:
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        call = stub(opened).GetTask.future(get(), timeout=30)
        while metric(server, "flyte_connector_in_flight", task_type="gated", operation="get") != 1:
            assert not call.done()
        (gates / "get").touch()
        call.result()
    assert metric(server, "flyte_connector_in_flight", task_type="gated", operation="get") == 0


def test_it_is_healthy_and_ready_once_it_listens(serve: Serve) -> None:
    server = serve("--store=memory://")
    assert page(server, "/healthz") == (200, "ok\n")
    assert page(server, "/readyz") == (200, "ready\n")
    with channel(server.address) as opened:
        answer = health(opened).Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_connectors_bug_is_in_the_log_with_the_id_that_its_caller_got(serve: Serve) -> None:
    server = serve("--store=memory://")
    with channel(server.address) as opened, pytest.raises(grpc.RpcError) as failure:
        stub(opened).GetTaskMetrics(get_metrics(), timeout=30)
    told = failure.value.details() or ""
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "Traceback" not in told
    line = server.logged(operation="get_metrics", status="INTERNAL")
    assert line["error_id"] in told
    traceback = next(line for line in server.lines if "exception" in line)
    assert "ValueError: a bug of this connector" in traceback["exception"]
    assert line["error_id"] in traceback["message"]


def test_a_message_over_the_limit_of_the_settings_is_refused(serve: Serve) -> None:
    server = serve("--store=memory://", "--max-message-bytes=1000")
    with channel(server.address) as opened, pytest.raises(grpc.RpcError) as failure:
        stub(opened).CreateTask(create("x" * 2_000), timeout=30)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_reflection_can_be_switched_off(serve: Serve) -> None:
    method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    for flag, code in (("--reflection", grpc.StatusCode.OK), ("--no-reflection", grpc.StatusCode.UNIMPLEMENTED)):
        with channel(serve("--store=memory://", flag).address) as opened:
            call: Any = opened.stream_stream(method)
            answers = call(iter([b"\x3a\x00"]), timeout=30)
            try:
                next(answers)
                answers.cancel()
                seen = grpc.StatusCode.OK
            except grpc.RpcError as error:
                seen = error.code()
            assert seen is code


def test_a_plugin_that_cannot_be_loaded_is_logged_and_counted_and_the_others_serve(
    serve: Serve, plugins: Path, gates: Path
) -> None:
    write_distribution(plugins, "broken-dist", "import nothing_like_it", entry_points={"broken": "Connector"})
    (gates / "get").touch()
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        assert stub(opened).GetTask(get(), timeout=30).resource.phase == 3
    line = server.logged(level="error", plugin="broken")
    assert line["distribution"] == "broken-dist"
    assert "No module named 'nothing_like_it'" in line["message"]
    labels = {"plugin": "broken", "distribution": "broken-dist", "reason": "import"}
    assert metric(server, "flyte_connector_plugin_load_errors", **labels) == 1


def test_a_connector_that_does_not_start_is_a_load_failure(serve: Serve, plugins: Path) -> None:
    source = """
    from connectors import Phase, Resource, SyncConnectorBase

    class Connector(SyncConnectorBase):
        task_type = "late"

        async def start(self, http):
            raise OSError("no route")

        async def do(self, task, ctx):
            return Resource(Phase.SUCCEEDED)
    """
    write_distribution(plugins, "late", source)
    server = serve("--store=memory://")
    assert "late@0 did not start: OSError: no route" in server.logged(level="error", plugin="late")["message"]
    labels = {"plugin": "late", "distribution": "late", "reason": "start"}
    assert metric(server, "flyte_connector_plugin_load_errors", **labels) == 1
    with channel(server.address) as opened, pytest.raises(grpc.RpcError) as failure:
        stub(opened).GetTask(get("late"), timeout=30)
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_environment_and_the_file_set_it_up(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "connectors.toml").write_text('store = "memory://"\n', "utf-8")
    server = serve(CONNECTORS_LOG_LEVEL="debug", CONNECTORS_ALLOW_PLUGIN="x")
    line = server.logged(level="warning")
    assert line["message"] == "CONNECTORS_ALLOW_PLUGIN is not a setting; did you mean 'CONNECTORS_ALLOW_PLUGINS'?"


@pytest.mark.parametrize("flags", [[], ["--store=sqlite://"]])
def test_the_log_names_the_file_of_the_embedded_store(serve: Serve, tmp_path: Path, flags: list[str]) -> None:
    url = f"sqlite://{tmp_path}/connectors/connectors.db"
    line = serve(*flags).logged(event="store")
    assert (line["store"], line["message"]) == (url, f"idempotency records are in {url}")


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{folder}/a%20file.db"])
def test_the_log_names_the_store_that_was_asked_for(serve: Serve, tmp_path: Path, url: str) -> None:
    url = url.format(folder=str(tmp_path).lstrip("/"))
    assert serve(f"--store={url}").logged(event="store")["store"] == url


def test_a_server_that_serves_nothing_says_what_left_its_plugins_out(serve: Serve) -> None:
    names = sorted(["gated", *INSTALLED])
    server = serve("--store=memory://", f"--deny-plugins={','.join(names)}")
    message = f"no connector is served: --deny-plugins leaves out {', '.join(names)}"
    assert server.logged(level="warning")["message"] == message


def test_a_meta_that_another_connector_made_is_refused(serve: Serve) -> None:
    server = serve("--store=memory://")
    request = get()
    request.resource_meta = META.replace(b"job_id", b"other")
    with channel(server.address) as opened, pytest.raises(grpc.RpcError) as failure:
        stub(opened).GetTask(request, timeout=30)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
