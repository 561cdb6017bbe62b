"""How ``connectors serve`` ends: nothing in flight is lost, and nothing waits for ever."""

from __future__ import annotations

import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.server.calls import channel, create, get, health, stub, wait_for
from tests.server.conftest import Serve
from tests.server.processes import ServerProcess

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def port_of(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def readiness(server: ServerProcess) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server.metrics}/readyz", timeout=30) as answer:  # noqa: S310 - http, and our own
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


@pytest.mark.parametrize("number", SIGNALS)
def test_an_idle_server_ends_at_once_with_0(serve: Serve, gates: Path, number: signal.Signals) -> None:
    server = serve("--store=memory://")
    server.logged(event="ready")
    server.send(number)
    assert server.wait() == 0
    assert (gates / "closed").exists()
    assert server.logged(event="stopped")
    assert not any("exception" in line or "text" in line for line in server.lines)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_call_in_flight_is_answered_before_the_end(serve: Serve, gates: Path, number: signal.Signals) -> None:
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        call = stub(opened).GetTask.future(get(), timeout=60)
        wait_for(gates / "get.entered")
        server.send(number)
        server.logged(event="stopping")
        (gates / "get").touch()
        assert call.result().resource.phase == 3
    assert server.wait() == 0


def test_while_it_drains_it_is_not_ready_not_serving_and_takes_no_new_connection(serve: Serve, gates: Path) -> None:
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        watch = health(opened).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        call = stub(opened).GetTask.future(get(), timeout=60)
        wait_for(gates / "get.entered")
        server.send(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert readiness(server) == (503, "draining")
        with pytest.raises(ConnectionRefusedError), socket.create_connection(port_of(server.address), timeout=30):
            pass
        (gates / "get").touch()
        assert call.result().resource.phase == 3
    assert server.wait() == 0


def test_a_create_whose_caller_is_gone_ends_before_the_server(serve: Serve, gates: Path) -> None:
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        call = stub(opened).CreateTask.future(create(), timeout=60)
        wait_for(gates / "create.entered")
        call.cancel()
        server.logged(operation="create", status="CANCELLED")
    server.send(signal.SIGTERM)
    server.logged(event="stopping")
    assert server.is_running()
    (gates / "create").touch()
    assert server.wait() == 0
    assert (gates / "created").exists()


def test_what_does_not_end_within_the_grace_is_answered_unavailable(serve: Serve, gates: Path) -> None:
    server = serve("--store=memory://", "--grace=0.2")
    with channel(server.address) as opened:
        call = stub(opened).GetTask.future(get(), timeout=60)
        wait_for(gates / "get.entered")
        server.send(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as failure:
            call.result()
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.wait() == 0
    assert any("1 call" in line.get("message", "") for line in server.lines)


def test_a_create_that_does_not_end_within_the_grace_does_not_hold_the_server(serve: Serve, gates: Path) -> None:
    server = serve("--store=memory://", "--grace=0.2")
    with channel(server.address) as opened:
        call = stub(opened).CreateTask.future(create(), timeout=60)
        wait_for(gates / "create.entered")
        call.cancel()
        server.logged(operation="create", status="CANCELLED")
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert not (gates / "created").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(serve: Serve, gates: Path, number: signal.Signals, code: int) -> None:
    server = serve("--store=memory://")
    with channel(server.address) as opened:
        call = stub(opened).GetTask.future(get(), timeout=60)
        wait_for(gates / "get.entered")
        server.send(signal.SIGTERM)
        server.logged(event="stopping")
        started = time.monotonic()
        server.send(number)
        assert server.wait() == code
        assert time.monotonic() - started < 20  # the grace is 25
        call.cancel()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_it_starts_ends_it_in_good_order(serve: Serve, gates: Path, number: signal.Signals) -> None:
    server = serve("--store=memory://", GATE_START="1")
    wait_for(gates / "start.entered")
    server.send(number)
    assert server.wait() == 0
    assert not any(line.get("event") == "ready" or "exception" in line for line in server.lines)


def test_it_is_not_ready_while_it_starts(serve: Serve, gates: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve("--store=memory://", f"--metrics-port={port}", GATE_START="1")
    wait_for(gates / "start.entered")
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30)
    assert (answer.value.code, answer.value.read()) == (503, b"starting\n")
    answer.value.close()
    (gates / "start").touch()
    assert readiness(server) == (200, "ready")


def test_what_one_server_created_is_found_by_the_next_in_the_embedded_store(serve: Serve, gates: Path) -> None:
    (gates / "create").touch()
    metas = []
    for _ in range(2):
        server = serve()
        with channel(server.address) as opened:
            answer = stub(opened).CreateTask(create(), metadata=[("idempotency-key", "mine")], timeout=30)
            metas.append(answer.resource_meta)
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        made = (gates / "created").exists()
        (gates / "created").unlink(missing_ok=True)
        assert made is (len(metas) == 1)
    assert metas[0] == metas[1]


class TestDelay:
    def test_calls_and_connections_are_taken_while_health_and_readiness_lead_callers_away(
        self, serve: Serve, gates: Path
    ) -> None:
        server = serve("--store=memory://", "--drain-delay=600")
        (gates / "get").touch()
        with channel(server.address) as before:
            assert stub(before).GetTask(get(), timeout=60).resource.phase == 3
            server.send(signal.SIGTERM)
            server.logged(event="stopping")
            with channel(server.address) as after:
                answer = health(after).Check(health_pb2.HealthCheckRequest(), timeout=60)
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
                assert stub(after).GetTask(get(), timeout=60).resource.phase == 3
            assert stub(before).GetTask(get(), timeout=60).resource.phase == 3
        assert readiness(server) == (503, "draining")
        server.send(signal.SIGTERM)
        assert server.wait() == 1

    def test_the_grace_begins_after_it(self, serve: Serve, gates: Path) -> None:
        server = serve("--store=memory://", "--drain-delay=1", "--grace=600")
        with channel(server.address) as opened:
            call = stub(opened).GetTask.future(get(), timeout=60)
            wait_for(gates / "get.entered")
            server.send(signal.SIGTERM)
            server.logged(event="draining")
            (gates / "get").touch()
            assert call.result().resource.phase == 3
        assert server.wait() == 0

    def test_the_process_is_given_its_time_beside_the_grace(self, serve: Serve) -> None:
        server = serve("--store=memory://", "--drain-delay=6", "--grace=0")  # the others are 5 s together
        server.logged(event="ready")
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        assert server.logged(event="stopped")

    def test_ctrl_c_has_none(self, serve: Serve) -> None:
        server = serve("--store=memory://", "--drain-delay=600")
        server.logged(event="ready")
        server.send(signal.SIGINT)
        assert server.wait() == 0
        assert server.logged(event="stopping")["message"] == "stopping: up to 25 s for what is in flight"

    @pytest.mark.parametrize(("arguments", "seconds"), [([], "5"), (["--drain-delay=7"], "7")])
    def test_in_a_pod_it_is_5_seconds_unless_told_otherwise(
        self, serve: Serve, arguments: list[str], seconds: str
    ) -> None:
        server = serve("--store=memory://", *arguments, KUBERNETES_SERVICE_HOST="10.0.0.1")
        server.logged(event="ready")
        server.send(signal.SIGTERM)
        expected = f"stopping: {seconds} s for callers to go elsewhere, then up to 25 s for what is in flight"
        assert server.logged(event="stopping")["message"] == expected
        server.send(signal.SIGTERM)
        assert server.wait() == 1
