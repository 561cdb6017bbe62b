"""Random histories of backends, servers, a store and a platform, and what must be true after every step.

Two servers share a store. Tasks are created, repeated, given up, retried, polled, deleted and run again under the same
name; answers are lost, servers are killed, the store and the platform go away and come back. The machine knows what the
platform holds: never a second job of one attempt, never two jobs of one task that run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

import anyio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors import ConnectorError, Phase
from connectors._engine.engine import Engine
from connectors._engine.requests import Caller
from connectors._stores import State, Store, StoreUnavailable
from tests.engine.harness import Bench, create_request, job_request
from tests.engine.job_platform import JobConnector, Platform, name_of
from tests.virtual_time import VirtualTimeLoop

T = TypeVar("T")
EPOCH = 1_700_000_000.0
TASKS = st.sampled_from(["t1", "t2"])
SERVERS = st.sampled_from([0, 1])
RETENTION = 7 * 86_400.0


class Link:
    """One server's way to the store: time stands still while the store is at work, and the link can be cut."""

    def __init__(self, store: Store, loop: VirtualTimeLoop) -> None:
        self._store = store
        self._loop = loop
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if not inspect.iscoroutinefunction(member):
            return member

        async def call(*args: Any, **options: Any) -> Any:
            if self.cut:
                raise StoreUnavailable
            with self._loop.standing_still():
                return await member(*args, **options)

        return call


class Server:
    """An engine in a task of its own, which can be killed."""

    def __init__(self, store: Store, connector: JobConnector, loop: VirtualTimeLoop) -> None:
        self.link = Link(store, loop)
        self.engine: Engine
        self._connector = connector
        self._started = asyncio.Event()
        self._task = loop.create_task(self._serve())

    async def _serve(self) -> None:
        bench = Bench(store=self.link, extra=(self._connector,))  # type: ignore[arg-type]
        async with bench.engine(store_retention=RETENTION) as self.engine:
            self._started.set()
            await asyncio.Event().wait()

    async def started(self) -> None:
        await self._started.wait()

    async def kill(self) -> None:
        """As by SIGKILL: what it was about to write is not written."""
        self.link.cut = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@dataclass
class Task:
    """What its backend knows."""

    name: str
    attempt: int = 0
    run: int = 0
    """How often the name was run again."""
    meta: bytes | None = None
    heard: set[str] = field(default_factory=set)
    over: bool = False
    """Its end was delivered, or it was deleted."""

    @property
    def prefix(self) -> str:
        return f"s3://b/{self.name}/n0/{self.attempt}"


class OneJob(RuleBasedStateMachine):
    """Subclasses say which store, and what the platform can."""

    dedupe: Literal["native", "search"] = "native"
    inline = False

    @staticmethod
    def stores(clock: Callable[[], float]) -> contextlib.AbstractAsyncContextManager[Store]:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.loop = self.runner.get_loop()
        assert isinstance(self.loop, VirtualTimeLoop)
        self.virtual = self.loop
        self.weeks = 0.0  # seconds that pass on the store's clock alone: nothing goes on in them
        self.opened = _Opened(type(self).stores(lambda: EPOCH + self.weeks + self.loop.time()))
        self.store = self.runner.run(self.opened.open())
        self.platform = Platform()
        self.connector = JobConnector(self.platform, self.dedupe, inline=self.inline)
        self.servers = [self.new_server(), self.new_server()]
        self.tasks = {name: Task(name) for name in ("t1", "t2")}
        self.jobs_of_ended_runs = 0
        self.calls: set[asyncio.Task[None]] = set()
        self.knowledge_was_lost = False

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def new_server(self) -> Server:
        async def start() -> Server:
            server = Server(self.store, self.connector, self.virtual)
            await server.started()
            return server

        return self.run(start())

    # --- the backend

    async def call_create(self, server: Server, task: Task, *, patience: float, hears: bool) -> None:
        """One CreateTask. The caller may be gone when the answer comes."""
        attempt, run = task.attempt, task.run
        told: list[Callable[[bool], None]] = []
        caller = Caller("flyte1", deadline=self.loop.time() + patience, on_answered=told.append)
        try:
            meta = await server.engine.create(create_request("jobs", prefix=task.prefix, caller=caller))
        except ConnectorError:
            meta = None
        except RuntimeError:  # the server was killed before the call reached it
            meta = None
        delivered = meta is not None and hears
        for callback in told:
            callback(delivered)
        if meta is None:
            return
        job = self.platform.job(name_of(meta))  # what is answered exists
        assert f"/{task.name}/" in job.prefix
        if delivered and (attempt, run) == (task.attempt, task.run) and not task.over:
            assert task.meta in (None, meta), "a repeat was answered with another job"
            task.meta = meta
            task.heard.add(job.name)

    @rule(name=TASKS, server=SERVERS, patience=st.sampled_from([2.0, 10.0]), hears=st.booleans(), wait=st.booleans())
    def create(self, name: str, server: int, patience: float, hears: bool, wait: bool) -> None:
        task = self.tasks[name]
        if task.over:
            return
        call = self.loop.create_task(
            self.call_create(self.servers[server], task, patience=patience, hears=hears)
        )
        self.calls.add(call)
        if wait:
            self.run(_ended(call))
        else:
            self.run(anyio.sleep(0))

    @rule(name=TASKS, seconds=st.sampled_from([0.5, 12.0]))
    def create_on_both_servers_at_once(self, name: str, seconds: float) -> None:
        self.platform.latency = seconds
        for server in (0, 1, 0):
            self.create(name, server, 10.0, True, False)

    @rule(name=TASKS, server=SERVERS, kill=st.booleans())
    def create_broken_off_and_repeated_elsewhere(self, name: str, server: int, kill: bool) -> None:
        """The server that is at work on it loses the store, or its life, long before the platform answers."""
        self.platform.latency = 20.0
        self.create(name, server, 30.0, True, False)
        self.run(anyio.sleep(1))
        if kill:
            self.a_server_is_killed(server)
        else:
            self.a_server_loses_the_store(server)
        self.create(name, 1 - server, 60.0, True, True)

    @rule(name=TASKS)
    def next_attempt(self, name: str) -> None:
        """The backend gave this attempt up."""
        task = self.tasks[name]
        if task.over or task.attempt >= 3:
            return
        self.run(self.settle_calls())
        task.attempt += 1
        task.meta = None

    @rule(name=TASKS, server=SERVERS)
    def poll(self, name: str, server: int) -> None:
        task = self.tasks[name]
        if task.meta is None:
            return
        meta = task.meta

        async def get() -> Phase:
            told: list[Callable[[bool], None]] = []
            caller = Caller("flyte1", deadline=self.loop.time() + 10, on_answered=told.append)
            resource = await self.servers[server].engine.get(job_request(meta, "jobs", caller))
            for callback in told:
                callback(True)
            return resource.phase

        phase = self.run(get())
        real = self.platform.job(name_of(meta)).phase
        assert phase in (real, Phase.RUNNING) or task.over
        task.over = task.over or phase.is_terminal

    @rule(name=TASKS, server=SERVERS)
    def delete(self, name: str, server: int) -> None:
        task = self.tasks[name]
        if task.meta is None or self.platform.down:
            return
        self.run(self.settle_calls())
        self.store_back()
        self.run(self.servers[server].engine.delete(job_request(task.meta, "jobs")))
        task.over = True
        assert not self.platform.job(name_of(task.meta)).runs

    @rule(name=TASKS)
    def run_again(self, name: str) -> None:
        """The same name begins anew, long after its end was delivered."""
        task = self.tasks[name]
        if not task.over:
            return
        self.heal()
        self.run(anyio.sleep(650))
        self.tasks[name] = Task(name, run=task.run + 1)
        self.jobs_of_ended_runs = len(self.platform.jobs)

    # --- what goes wrong

    @rule(seconds=st.sampled_from([0.1, 1.0, 9.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(anyio.sleep(seconds))

    @rule(server=SERVERS)
    def a_server_is_killed(self, server: int) -> None:
        self.knowledge_was_lost = True
        self.run(self.servers[server].kill())
        self.servers[server] = self.new_server()

    @rule(count=st.sampled_from([1, 2, 9]))
    def answers_are_lost(self, count: int) -> None:
        self.platform.lose_answers = count

    @rule(seconds=st.sampled_from([0.0, 0.5, 12.0]))
    def the_platform_takes_its_time(self, seconds: float) -> None:
        self.platform.latency = seconds

    @rule(down=st.booleans())
    def the_platform_goes_or_comes_back(self, down: bool) -> None:
        self.platform.down = down

    @rule(server=SERVERS)
    def a_server_loses_the_store(self, server: int) -> None:
        self.knowledge_was_lost = True
        self.servers[server].link.cut = True

    @rule()
    def store_back(self) -> None:
        for server in self.servers:
            server.link.cut = False
        self.run(anyio.sleep(7))

    @rule(number=st.integers(0, 20), phase=st.sampled_from([Phase.SUCCEEDED, Phase.FAILED]))
    def a_job_ends(self, number: int, phase: Phase) -> None:
        running = [job for job in self.platform.jobs if job.runs]
        if running:
            running[number % len(running)].phase = phase

    @precondition(lambda self: not self.platform.running)
    @rule()
    def records_expire(self) -> None:
        """Over a week in which nothing goes on; the platform still holds the old jobs."""
        self.heal()
        if self.platform.running:
            return
        for task in self.tasks.values():
            task.over = True
        for job in self.platform.jobs:
            job.age += timedelta(days=8)
        self.weeks += 8 * 86_400
        self.run(self.store.expire(older_than=RETENTION))
        for name, task in self.tasks.items():
            self.tasks[name] = Task(name, run=task.run + 1)
        self.jobs_of_ended_runs = len(self.platform.jobs)

    # --- what is always true

    @invariant()
    def no_two_jobs_of_one_task_run_side_by_side(self) -> None:
        for name in self.tasks:
            running = [job.name for job in self.platform.jobs if job.runs and f"/{name}/" in job.prefix]
            assert len(running) <= 1, running

    @invariant()
    def no_attempt_has_a_second_job(self) -> None:
        for task in self.tasks.values():
            for attempt in range(task.attempt + 1):
                prefix = f"s3://b/{task.name}/n0/{attempt}"
                jobs = [job for job in self.platform.jobs[self.jobs_of_ended_runs :] if job.prefix == prefix]
                assert len(jobs) <= 1, jobs

    async def settle_calls(self) -> None:
        while self.calls:
            done, self.calls = await asyncio.wait(self.calls, timeout=1)
            for call in done:
                call.result()

    def heal(self) -> None:
        """All faults pass, and what was under way comes to its end."""
        self.platform.down, self.platform.lose_answers, self.platform.latency = False, 0, 0.0
        self.store_back()
        self.run(self.settle_calls())
        self.run(anyio.sleep(60))

    def teardown(self) -> None:
        self.heal()
        self.run(anyio.sleep(700))
        unwatched = self.run(self.unwatched())
        for server in self.servers:
            self.run(server.kill())
        self.run(self.opened.close())
        self.runner.close()
        assert not unwatched, f"nobody will ever ask for {unwatched}"

    async def unwatched(self) -> list[str]:
        """Jobs that run on although it is certain that their answer reached nobody. Where a server was killed, or could
        not write, it is not certain.
        """
        heard = {name for task in self.tasks.values() for name in task.heard}
        found = []
        for job in self.platform.jobs:
            record = await self.store.find(job.key)
            if job.runs and job.name not in heard and record is not None and record.state is State.DONE:
                found.append(job.name)
        return [] if self.knowledge_was_lost else found


class _Opened:
    """A store that is opened and closed in one and the same task."""

    def __init__(self, context: contextlib.AbstractAsyncContextManager[Store]) -> None:
        self._context = context

    async def open(self) -> Store:
        loop = asyncio.get_running_loop()
        self._done, opened = asyncio.Event(), loop.create_future()
        self._task = loop.create_task(self._hold(opened))
        store: Store = await opened
        return store

    async def _hold(self, opened: asyncio.Future[Store]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        async with contextlib.AsyncExitStack() as stack:
            with loop.standing_still():
                store = await stack.enter_async_context(self._context)
            opened.set_result(store)
            await self._done.wait()

    async def close(self) -> None:
        self._done.set()
        await self._task


async def _ended(call: asyncio.Task[None]) -> None:
    await call
