"""Ctrl-C, as a person types it: a script on a terminal of its own, and a job on the platform."""

from __future__ import annotations

import pytest

from connectors.testing.platform import FakePlatform, Fault, JobState
from tests.local.conftest import states, until
from tests.local.terminal import CTRL_C, on_terminal

pytestmark = pytest.mark.anyio

SCRIPT = """
import asyncio, sys, threading
from connectors.local import ConnectorTask, InProcess, RunOptions
from connectors.testing.platform import NativeConnector, PlatformSettings

connector = NativeConnector(PlatformSettings(url=sys.argv[1], timeout=60))
options = RunOptions(poll_interval=0.05, via=lambda: InProcess(connectors=[connector]))
task = ConnectorTask("slow", "platform_native", config={"duration": 60}, local_run=options)

async def main():
    await task.run()

def in_a_loop_of_another_thread():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(main(), loop).result()

try:
    {"called": task, "awaited": lambda: asyncio.run(main()), "in a thread": in_a_loop_of_another_thread}[sys.argv[2]]()
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""
forms = pytest.mark.parametrize("form", ["called", "awaited", "in a thread"])


@forms
async def test_ctrl_c_deletes_the_job_and_waits_for_it(platform: FakePlatform, form: str) -> None:
    platform.set_fault(Fault("slow", ("cancel",), delay=0.3))
    async with on_terminal(SCRIPT, platform.url, form) as terminal:
        await terminal.shows("RUNNING")
        terminal.type(CTRL_C)
        await terminal.shows("interrupted")
        assert await terminal.exit_code() == 130
        assert b"deleted" in terminal.shown
    assert states(platform) == [JobState.CANCELLED]


@forms
async def test_ctrl_c_during_the_create_deletes_what_comes_of_it(platform: FakePlatform, form: str) -> None:
    platform.set_fault(Fault("slow", ("submit",), delay=1.0))
    async with on_terminal(SCRIPT, platform.url, form) as terminal:
        await until(platform, lambda _: platform.requests["submit"] > 0)
        assert platform.jobs() == ()
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130
    assert states(platform) == [JobState.CANCELLED]


@forms
async def test_a_second_ctrl_c_leaves_and_says_what_finds_the_job(platform: FakePlatform, form: str) -> None:
    platform.set_fault(Fault("hang", ("cancel",), seconds=60))
    async with on_terminal(SCRIPT, platform.url, form) as terminal:
        await terminal.shows("RUNNING")
        terminal.type(CTRL_C)
        await until(platform, lambda _: platform.requests["cancel"] > 0)
        terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130
        await terminal.shows(platform.jobs()[0].id)
    assert states(platform) == [JobState.RUNNING]
    platform.clear_faults()
