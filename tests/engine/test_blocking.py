"""Connector methods that are a plain ``def`` run in threads, in real time."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from connectors import AsyncConnectorBase, Context, Phase, Resource, TaskTemplate
from connectors._engine.options import ConnectorLimits
from tests.engine.harness import Bench, Job, create_request, job_request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Threads keep real time."""
    return "asyncio"


class Blocking(AsyncConnectorBase[Job]):
    task_type = "blocking"

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()
        self.running = self.most = 0
        self.go_on = threading.Event()
        self.started = anyio.Semaphore(0)
        self._lock = threading.Lock()

    def create(self, task: TaskTemplate, ctx: Context) -> Job:
        self.threads.add(threading.current_thread().name)
        return Job(ctx.wait(ctx.secrets.get("token"))[:4])

    def get(self, job: Job, ctx: Context) -> Resource:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        ctx.wait(self._tell())
        self.go_on.wait(30)
        with self._lock:
            self.running -= 1
        return Resource(Phase.SUCCEEDED)

    async def _tell(self) -> None:
        self.started.release()

    def delete(self, job: Job, ctx: Context) -> None:
        ctx.wait(anyio.lowlevel.checkpoint())


def with_blocking(bench: Bench) -> Blocking:
    blocking = Blocking()
    bench.extra = (blocking,)
    return blocking


async def test_a_plain_def_runs_in_its_connector_s_thread_and_awaits_through_its_context(bench: Bench) -> None:
    blocking = with_blocking(bench)
    async with bench.engine() as engine:
        assert await engine.create(create_request("blocking")) == b'{"name":"fake"}'
    (thread,) = blocking.threads
    assert thread.startswith("connector-blocking")


async def test_no_more_threads_than_the_limit_run_at_once(bench: Bench) -> None:
    blocking = with_blocking(bench)
    async with bench.engine(limits=ConnectorLimits(threads=2)) as engine, anyio.create_task_group() as callers:

        async def poll(number: int) -> None:
            resource = await engine.get(job_request(Job(str(number)).encode(), "blocking"))
            assert resource.phase is Phase.SUCCEEDED

        for number in range(6):
            callers.start_soon(poll, number)
        for _ in range(2):
            await blocking.started.acquire()
        blocking.go_on.set()
    assert blocking.most == 2


async def test_the_event_loop_goes_on_while_all_threads_of_a_connector_are_taken(bench: Bench) -> None:
    blocking = with_blocking(bench)
    bench.acme.on_get = lambda ctx: Resource(Phase.QUEUED)
    async with bench.engine(limits=ConnectorLimits(threads=1)) as engine, anyio.create_task_group() as callers:
        callers.start_soon(engine.get, job_request(Job("1").encode(), "blocking"))
        await blocking.started.acquire()
        assert (await engine.get(job_request(Job("2").encode()))).phase is Phase.QUEUED
        blocking.go_on.set()


@pytest.mark.parametrize("raised", [StopIteration(), SystemExit(3), KeyError("k")], ids=repr)
async def test_whatever_a_plain_def_raises_is_a_bug_at_once(bench: Bench, raised: BaseException) -> None:
    def fail(job: Job, ctx: Context) -> Resource:
        raise raised

    blocking = with_blocking(bench)
    blocking.get = fail  # type: ignore[method-assign]  # the test's own connector
    async with bench.engine() as engine:
        with anyio.fail_after(5):
            assert (await engine.get(job_request(Job("1").encode(), "blocking"))).phase is Phase.RUNNING
    assert bench.events[-1].error_id


async def test_wait_on_the_event_loop_itself_is_refused(bench: Bench) -> None:
    def on_loop(ctx: Context) -> Any:
        ctx.wait(anyio.lowlevel.checkpoint())

    bench.acme.on_create = on_loop
    async with bench.engine() as engine:
        with pytest.raises(Exception, match="error id"):
            await engine.create(create_request())
