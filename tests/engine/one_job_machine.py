"""Random histories of backends, servers, a store and a platform, and what must be true after every step.

Two servers share a store. Tasks are created, repeated, given up, retried, polled, deleted and run again under the same
name; answers are lost, servers are killed, the store and the platform go away and come back. The machine knows what the
platform may hold: never a second job of one attempt, never two jobs of one task side by side, and at last no job that
nobody watches.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, ClassVar, Literal, TypeVar

import anyio
import anyio.lowlevel
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from connectors import ConnectorError, Phase
from connectors._engine.options import EngineOptions
from connectors._engine.requests import Caller
from connectors._stores import State, job_of
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.engine.harness import create_request, job_request
from tests.engine.job_platform import JobConnector, Platform, name_of
from tests.engine.one_job_model import Jobs, Task, attempt_of, task_of
from tests.engine.one_job_servers import RETENTION, Link, OpenedStore, Server, Stores

T = TypeVar("T")
EPOCH = 1_700_000_000.0
CREATE_TIMEOUT = EngineOptions().create_timeout
TASKS = st.sampled_from(["t1", "t2"])
SERVERS = st.sampled_from([0, 1])
LATENCIES = st.sampled_from([0.0, 0.5, 12.0])
may_lose_knowledge = precondition(lambda machine: not machine.servers_live_on)


class OneJob(RuleBasedStateMachine):
    """Subclasses say which store, and what the platform can."""

    stores: ClassVar[Stores]
    dedupe: Literal["native", "search"] = "native"
    inline = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        loop = self.runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.loop = loop
        self.weeks = 0.0  # seconds that pass on the store's clock alone: nothing goes on in them
        self.opened = OpenedStore(type(self).stores(lambda: EPOCH + self.weeks + loop.time()))
        self.store = self.run(self.opened.open())
        self.ledger = Link(self.store, loop).as_store()
        self.platform = Platform()
        self.connector = JobConnector(self.platform, self.dedupe, inline=self.inline)
        self.servers = [self.new_server(), self.new_server()]
        self.tasks = {name: Task(name) for name in ("t1", "t2")}
        self.jobs = Jobs(
            self.platform, self.tasks, clock=loop.time, may_be_made_without_the_store=self.may_lack_the_store
        )
        self.all_have_the_store_since = -math.inf
        self.calls: set[asyncio.Task[None]] = set()
        self.servers_live_on = False

    @initialize(servers_live_on=st.booleans())
    def begin(self, servers_live_on: bool) -> None:
        """Where no server dies and none loses the store, more is certain of what they know."""
        self.servers_live_on = servers_live_on

    def may_lack_the_store(self, attempt: int) -> bool:
        """Whether this attempt's create may go on without it. First attempts do, where the platform dedupes: each is
        one job all the same.
        """
        if self.dedupe != "native" or attempt != 0:
            return False
        all_have_it = not any(server.link.cut for server in self.servers)
        return not all_have_it or self.loop.time() < self.all_have_the_store_since + CREATE_TIMEOUT

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def new_server(self) -> Server:
        async def start() -> Server:
            server = Server(self.store, self.connector, self.loop)
            await server.started()
            return server

        return self.run(start())

    # --- the backend

    async def call_create(self, server: Server, task: Task, *, patience: float, hears: bool = True) -> None:
        """One CreateTask. The caller may be gone when the answer comes."""
        attempt, task.begun = task.attempt, True
        if self.platform.down or self.platform.lose_answers:
            task.in_doubt = True
        told: list[Callable[[bool], None]] = []
        caller = Caller("flyte1", deadline=self.loop.time() + patience, on_answered=told.append)
        may_lack_the_store = self.may_lack_the_store(attempt)
        try:
            meta = await server.engine.create(create_request("jobs", prefix=task.prefix, caller=caller))
        except ConnectorError:
            meta = None
        except RuntimeError:  # the server was killed before the call reached it
            meta = None
        for callback in told:
            callback(meta is not None and hears)
        if meta is None:
            task.in_doubt = True
            return
        job = self.platform.job(name_of(meta))
        assert task_of(job.prefix) == task.name
        if self.jobs.run_of[job.name] != task.run:
            if may_lack_the_store or self.may_lack_the_store(attempt):
                return  # without the store nobody can tell runs of the same name apart
            # and where a create's outcome is in doubt, what the platform holds under its key counts as its own
            assert task.after_expiry, f"{job.name} is an earlier run's"
            assert task.in_doubt, f"{job.name} is an earlier run's"
        if attempt_of(job.prefix) != attempt:
            assert self.inline, f"{job.name} writes under another attempt's prefix"
            asked_by = task.asked.get(job.name, attempt)
            assert asked_by == attempt, f"{job.name} was asked for, and handed on to the next attempt"
        if hears:
            task.heard.add(job.name)
        if hears and attempt == task.attempt and not task.deleted and not task.given_up:
            assert task.meta in (None, meta), "a repeat was answered with another job"
            task.meta = meta

    @rule(name=TASKS, server=SERVERS, patience=st.sampled_from([2.0, 10.0]), hears=st.booleans(), wait=st.booleans())
    def create(self, name: str, server: int, patience: float, hears: bool, wait: bool) -> None:
        """Also a repeat; and one that comes soon after the end was delivered."""
        task = self.tasks[name]
        long_ended = task.ended_at is not None and self.loop.time() - task.ended_at > 500
        if task.deleted or task.given_up or long_ended:
            return
        call = self.loop.create_task(self.call_create(self.servers[server], task, patience=patience, hears=hears))
        self.calls.add(call)
        self.run(_ended(call) if wait else anyio.lowlevel.checkpoint())

    @rule(name=TASKS)
    def next_attempt(self, name: str) -> None:
        """The backend gave this attempt up."""
        task = self.tasks[name]
        if task.over or task.attempt >= 3:
            return
        self.run(self.settle_calls())
        task.attempt += 1
        task.meta = None

    @rule(name=TASKS)
    def give_up(self, name: str) -> None:
        """There are no retries left, and a backend that never heard of a job deletes none."""
        task = self.tasks[name]
        if task.meta is None and not task.over and task.begun:
            self.run(self.settle_calls())
            task.given_up = task.meta is None

    @rule(name=TASKS, server=SERVERS)
    def poll(self, name: str, server: int) -> None:
        task, link = self.tasks[name], self.servers[server].link
        if task.meta is None:
            return
        meta, job = task.meta, self.platform.job(name_of(task.meta))

        async def get() -> tuple[Phase, bool]:
            told: list[Callable[[bool], None]] = []
            is_known = await self.ledger.find_job(job_of("jobs", 0, meta)) is not None
            caller = Caller("flyte1", deadline=self.loop.time() + 10, on_answered=told.append)
            resource = await self.servers[server].engine.get(job_request(meta, "jobs", caller))
            for callback in told:
                callback(True)
            await anyio.sleep(0.1)  # what was seen is written down
            return resource.phase, is_known

        phase, is_known = self.run(get())
        if task.deleted:
            assert phase.is_terminal or link.cut
            return
        assert phase in (job.phase, Phase.RUNNING)
        if is_known and not link.cut:
            task.asked.setdefault(job.name, task.attempt)
        if phase.is_terminal and task.ended_at is None:
            task.ended_at = self.loop.time()

    @rule(name=TASKS, server=SERVERS)
    def delete(self, name: str, server: int) -> None:
        """It succeeds also while the platform is down."""
        task = self.tasks[name]
        if task.meta is None:
            return
        self.run(self.settle_calls())
        self.store_back()
        self.run(self.servers[server].engine.delete(job_request(task.meta, "jobs")))
        task.deleted = True
        assert self.platform.down or not self.platform.job(name_of(task.meta)).runs

    @rule(name=TASKS)
    def run_again(self, name: str) -> None:
        """The same name begins anew, long after its end was delivered."""
        task = self.tasks[name]
        if task.meta is None or not task.over:
            return
        self.heal()
        self.minutes_pass()
        record = self.run(self.ledger.find_job(job_of("jobs", 0, task.meta)))
        if self.servers_live_on or task.deleted:
            assert record is not None
            assert record.terminal or record.deletion.value
        if record is not None and (record.terminal or record.deletion.value):
            self.tasks[name] = Task(name, run=task.run + 1)

    # --- what goes wrong

    @rule(seconds=st.sampled_from([0.1, 1.0, 9.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(anyio.sleep(seconds))

    @rule()
    def minutes_pass(self) -> None:
        """Long enough for an orphan to be one; those who watch a job go on polling it."""
        for minute in range(14):
            for task in self.tasks.values():
                if not task.over:
                    self.poll(task.name, minute % 2)
            self.run(anyio.sleep(60))

    @may_lose_knowledge
    @rule(server=SERVERS)
    def a_server_is_killed(self, server: int) -> None:
        self.doubt()
        self.run(self.servers[server].kill())
        self.servers[server] = self.new_server()

    def doubt(self) -> None:
        for task in self.tasks.values():
            task.in_doubt = task.in_doubt or task.begun

    @rule(count=st.sampled_from([1, 2, 9]))
    def answers_are_lost(self, count: int) -> None:
        self.doubt()
        self.platform.lose_answers = count

    @rule(seconds=LATENCIES)
    def the_platform_takes_its_time(self, seconds: float) -> None:
        self.platform.latency = seconds

    @rule(down=st.booleans())
    def the_platform_goes_or_comes_back(self, down: bool) -> None:
        self.doubt()
        self.platform.down = down

    @may_lose_knowledge
    @rule(server=SERVERS)
    def a_server_loses_the_store(self, server: int) -> None:
        self.doubt()
        self.servers[server].link.cut = True

    @may_lose_knowledge
    @rule()
    def store_back(self) -> None:
        for server in self.servers:
            if server.link.cut:
                server.link.cut, self.all_have_the_store_since = False, self.loop.time()
        self.run(anyio.sleep(7))
        self.run(self.look_for_the_untold())

    async def look_for_the_untold(self) -> None:
        for name in sorted(self.jobs.untold):
            if await self.ledger.find(self.platform.job(name).key) is not None:
                self.jobs.untold.discard(name)

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
        for job in self.platform.jobs:
            job.age += timedelta(days=8)
        self.weeks += 8 * 86_400
        self.run(self.ledger.expire(older_than=RETENTION))
        for name, task in self.tasks.items():
            self.tasks[name] = Task(name, run=task.run + 1, after_expiry=True)

    # --- what is always true

    @invariant()
    def no_attempt_has_a_second_job_and_no_task_two_at_once(self) -> None:
        assert not self.jobs.faults, "; ".join(self.jobs.faults)

    @invariant()
    def no_job_is_cancelled_that_its_backend_watches(self) -> None:
        for task in self.tasks.values():
            if task.meta is not None and not task.over and self.jobs.run_of[name_of(task.meta)] == task.run:
                assert name_of(task.meta) not in self.platform.cancelled

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

    # --- what is true at last

    def teardown(self) -> None:
        try:
            if not self.jobs.faults:
                self.heal()
                self.every_task_goes_on()
                self.minutes_pass()
                self.run(self.every_job_is_watched())
        finally:
            for server in self.servers:
                self.run(server.kill())
            self.run(self.opened.close())
            self.runner.close()

    def every_task_goes_on(self) -> None:
        for task in self.tasks.values():
            if task.begun and not task.over:
                self.create(task.name, 0, 60.0, True, True)
                assert task.meta is not None, "a create was refused after all faults had passed"

    async def every_job_is_watched(self) -> None:
        """Nothing runs but what a backend watches; and what one gave up, where it may have heard of it."""
        assert not self.jobs.faults, "; ".join(self.jobs.faults)
        for task in self.tasks.values():
            watched = {name_of(task.meta)} if task.meta is not None and not task.over else set()
            for job in self.jobs.of(task):
                if job.runs and job.name not in watched:
                    assert task.given_up, f"{job.name} runs on"
                    record = await self.ledger.find(job.key)
                    is_known = record is not None and record.state is State.DONE and not record.adopted_by
                    is_lost = is_known and job.name not in task.heard and self.servers_live_on
                    assert not is_lost, f"nobody will ever ask for {job.name}"


async def _ended(call: asyncio.Task[None]) -> None:
    await call
