"""What takes a process of its own: its signals, and its event loop, which is uvloop's."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from connectors import TaskTemplate
from connectors.client import ConnectorClient
from tests.registry.distributions import write_distribution
from tests.server.processes import ServerProcess

HEAVY = """
import time

from connectors import Phase, Resource, SyncConnectorBase

class Heavy(SyncConnectorBase):
    task_type = "heavy"

    async def do(self, task, ctx):
        time.sleep(0.9)
        return Resource(Phase.SUCCEEDED)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    write_distribution(plugins, "heavy", HEAVY, entry_points={"heavy": "Heavy"})
    running = ServerProcess(plugins=plugins, cwd=tmp_path)
    yield running
    running.close()


def made(channel: grpc.Channel, method: str) -> Any:
    return channel.unary_unary(method)


def call(server: ServerProcess, method: str) -> None:
    """A call that leaves a line at debug: there is no such method."""
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError, match="unknown method"):
        made(channel, method)(b"", timeout=30)


def of_method(method: str) -> str:
    return f"UNIMPLEMENTED of '{method}': unknown_method"


def test_sigusr1_turns_debug_on_and_off_again(server: ServerProcess) -> None:
    call(server, "/before/M")
    server.send(signal.SIGUSR1)
    assert server.logged(event="log_level", log_level="debug")["level"] == "info"
    call(server, "/while/M")
    assert server.logged(message=of_method("/while/M"))["level"] == "debug"
    server.send(signal.SIGUSR1)
    server.logged(event="log_level", log_level="info")
    call(server, "/after/M")
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    written = {line.get("message") for line in server.lines}
    assert of_method("/before/M") not in written
    assert of_method("/after/M") not in written


@pytest.mark.anyio
async def test_a_connector_that_holds_the_event_loop_is_named(server: ServerProcess) -> None:
    async with ConnectorClient(server.address, "flyte1") as client:
        await client.do(TaskTemplate("heavy"), {})
    line = server.logged(event="event_loop_blocked", task_type="heavy")
    assert (line["level"], line["task"]) == ("warning", "do of heavy")
    assert re.fullmatch(r"\w+\.do:10", line["at"])
