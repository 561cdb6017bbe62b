"""How ``connectors serve`` ends where a connector would hold it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.registry.distributions import write_distribution
from tests.server.calls import META, channel, get, stub, wait_for
from tests.server.conftest import Serve
from tests.server.processes import ServerProcess

HELD = 60.0  # seconds for which the connector holds whatever it holds

SOURCE = """
import asyncio, os, threading, time
from dataclasses import dataclass
from pathlib import Path

from connectors import AsyncConnectorBase, ResourceMeta

def enter():
    (Path(os.environ["GATES"]) / "entered").touch()

def hold():
    enter()
    threading.Event().wait({held})

@dataclass(frozen=True)
class Job(ResourceMeta):
    job_id: str

class Connector(AsyncConnectorBase[Job]):
    task_type = "held"

    async def create(self, task, ctx): ...

    async def delete(self, job, ctx): ...

    async def get(self, job, ctx): ...

"""

PLAIN_DEF = """
    def get(self, job, ctx):
        hold()
"""
THREAD_OF_THE_LOOP = """
    async def get(self, job, ctx):
        await asyncio.to_thread(hold)
"""
BLOCKED_LOOP = """
    async def get(self, job, ctx):
        enter()
        time.sleep({held})
"""
SLOW_CLOSE = """
    async def get(self, job, ctx):
        enter()

    async def aclose(self):
        await asyncio.sleep({held})
"""
UNSTOPPABLE_CLOSE = """
    async def get(self, job, ctx):
        enter()

    async def aclose(self):
        while True:
            try:
                await asyncio.sleep({held})
            except asyncio.CancelledError:
                pass
"""


def called(serve: Serve, plugins: Path, gates: Path, methods: str, grace: float) -> ServerProcess:
    """A server whose connector was asked for a job's state."""
    write_distribution(plugins, "held", (SOURCE + methods).format(held=HELD))
    server = serve("--store=memory://", f"--grace={grace}")
    with channel(server.address) as opened:
        request = get("held")
        request.resource_meta = META
        call = stub(opened).GetTask.future(request, timeout=HELD)
        wait_for(gates / "entered")
        call.cancel()
    return server


@pytest.mark.parametrize("methods", [PLAIN_DEF, THREAD_OF_THE_LOOP])
def test_a_thread_that_still_runs_is_not_waited_for(serve: Serve, plugins: Path, gates: Path, methods: str) -> None:
    server = called(serve, plugins, gates, methods, grace=1)
    started = time.monotonic()
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - started < HELD / 3
    assert server.logged(event="stopped")
    assert "ending without these threads" in server.lines[-2]["message"]


def test_a_connector_that_does_not_close_has_its_time_cut_so_that_the_end_is_in_good_order(
    serve: Serve, plugins: Path, gates: Path
) -> None:
    server = called(serve, plugins, gates, SLOW_CLOSE, grace=0)
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert any("did not close within" in line.get("message", "") for line in server.lines)


def test_a_connector_that_cannot_be_stopped_does_not_hold_the_process(serve: Serve, plugins: Path, gates: Path) -> None:
    server = called(serve, plugins, gates, UNSTOPPABLE_CLOSE, grace=0)
    started = time.monotonic()
    server.send(signal.SIGTERM)
    assert server.wait() == 1
    assert time.monotonic() - started < HELD / 3
    assert "not everything could be closed within 5 s" in server.lines[-2]["message"]


def test_a_second_signal_ends_it_though_its_event_loop_is_blocked(serve: Serve, plugins: Path, gates: Path) -> None:
    server = called(serve, plugins, gates, BLOCKED_LOOP, grace=HELD)
    started = time.monotonic()
    while server.is_running():  # two signals of one kind may arrive as one
        server.send(signal.SIGTERM)
        time.sleep(0.05)
    assert server.wait() == 1
    assert time.monotonic() - started < HELD / 3
