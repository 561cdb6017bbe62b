"""The kill switch of a server that runs: a file says what nothing new is begun for."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from tests.server.calls import channel, create, get, stub
from tests.server.conftest import Serve
from tests.server.processes import ServerProcess


@pytest.fixture
def file(tmp_path: Path, gates: Path) -> Path:
    for gate in ("create", "get"):
        (gates / gate).touch()
    return tmp_path / "paused"


def readiness(server: ServerProcess) -> str:
    with urllib.request.urlopen(f"{server.metrics}/readyz", timeout=30) as answer:  # noqa: S310 - http, and our own
        return str(answer.read().decode())


def gauge(server: ServerProcess) -> str:
    with urllib.request.urlopen(f"{server.metrics}/metrics", timeout=30) as answer:  # noqa: S310 - http, and our own
        lines: list[str] = answer.read().decode().splitlines()
    return next(line for line in lines if line.startswith("flyte_connector_paused{"))


def refused(server: ServerProcess, prefix: str) -> grpc.RpcError:
    with channel(server.address) as opened, pytest.raises(grpc.RpcError) as raised:
        stub(opened).CreateTask(create(prefix), timeout=60)
    return raised.value


def made(server: ServerProcess, prefix: str) -> None:
    with channel(server.address) as opened:
        assert stub(opened).CreateTask(create(prefix), timeout=60).resource_meta


def test_it_pauses_and_lets_go_while_the_server_runs(serve: Serve, file: Path) -> None:
    server = serve("--store=memory://", f"--paused-file={file}")
    made(server, "s3://b/1")
    assert readiness(server) == "ready\n"
    file.write_text("# an incident\ngated  # since noon\n")
    line = server.logged(event="paused")
    assert (line["names"], line["level"]) == (["gated"], "warning")
    error = refused(server, "s3://b/2")
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "gated is paused here by the service's operator: nothing new is begun"
    with channel(server.address) as opened:
        assert stub(opened).GetTask(get(), timeout=60).resource.phase == 3
    assert readiness(server) == "ready\npaused: gated\n"
    assert gauge(server) == 'flyte_connector_paused{task_type="gated"} 1.0'
    file.unlink()
    server.logged(event="paused", names=[])
    made(server, "s3://b/2")
    assert gauge(server) == 'flyte_connector_paused{task_type="gated"} 0.0'
    assert readiness(server) == "ready\n"


def test_what_it_says_holds_from_the_first_call(serve: Serve, file: Path) -> None:
    file.write_text("*\n")
    server = serve("--store=memory://", f"--paused-file={file}")
    assert refused(server, "s3://b/1").code() is grpc.StatusCode.UNAVAILABLE
    assert readiness(server) == "ready\npaused: everything\n"


def test_a_line_that_names_nothing_is_told_of_and_the_others_hold(serve: Serve, file: Path) -> None:
    file.write_bytes(b"gate\n\xff\ngated\n")
    server = serve("--store=memory://", f"--paused-file={file}")
    assert refused(server, "s3://b/1").code() is grpc.StatusCode.UNAVAILABLE
    [first, second] = [line["message"] for line in server.lines if "pauses nothing" in line.get("message", "")]
    assert first.startswith(f"{file}, line 1: 'gate' is neither a task type nor a plugin here, and pauses nothing")
    assert "'gated'" in first
    assert second.startswith(f"{file}, line 2: ")


def test_a_link_that_is_turned_is_a_change(serve: Serve, file: Path, tmp_path: Path) -> None:
    for number, text in enumerate(("", "gated\n")):
        (tmp_path / f"version-{number}").write_text(text)
    file.symlink_to("version-0")
    server = serve("--store=memory://", f"--paused-file={file}")
    server.logged(event="ready")
    (tmp_path / "next").symlink_to("version-1")
    (tmp_path / "next").rename(file)
    assert server.logged(event="paused")["names"] == ["gated"]


@pytest.mark.parametrize("spoil", [Path.mkdir, os.mkfifo, lambda path: path.write_bytes(b"#" * 100_000)])
def test_one_that_cannot_be_read_any_more_changes_nothing(
    serve: Serve, file: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    (tmp_path / "good").write_text("gated\n")
    file.symlink_to("good")
    server = serve("--store=memory://", f"--paused-file={file}")
    server.logged(event="ready")
    spoil(tmp_path / "spoilt")
    (tmp_path / "next").symlink_to("spoilt")
    (tmp_path / "next").rename(file)
    assert server.logged(event="paused_unreadable")["level"] == "error"
    assert readiness(server) == "ready\npaused: gated\n"
    (tmp_path / "spoilt").rename(tmp_path / "away")
    server.logged(event="paused", names=[])
    assert sum(line.get("event") == "paused_unreadable" for line in server.lines) == 1


def test_one_that_cannot_be_read_refuses_the_start(serve: Serve, file: Path) -> None:
    file.mkdir()
    server = serve("--store=memory://", f"--paused-file={file}")
    assert server.wait() == 1
    assert server.wrote(f"--paused-file: {file} ")
