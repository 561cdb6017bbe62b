"""Steps that belong together: where faults meet in them is where jobs were made twice, or lost, before."""

from __future__ import annotations

import anyio
from hypothesis import strategies as st
from hypothesis.stateful import rule

from connectors import Phase
from tests.engine.job_platform import name_of
from tests.engine.one_job_machine import LATENCIES, SERVERS, TASKS, OneJob, may_lose_knowledge
from tests.engine.one_job_model import Task


class LikelyFaults(OneJob):
    """Single steps at random, and these among them."""

    def is_watched(self, name: str, server: int) -> bool:
        """Whether the task has a job that its backend waits for; it is created where it has none."""
        task = self.tasks[name]
        if task.meta is None:
            self.create(name, server, 10.0, True, True)
        return task.meta is not None and not task.over

    def name_of_job(self, name: str) -> str:
        meta = self.tasks[name].meta
        assert meta is not None
        return name_of(meta)

    @rule(name=TASKS, seconds=LATENCIES)
    def create_on_both_servers_at_once(self, name: str, seconds: float) -> None:
        self.platform.latency = seconds
        for server in (0, 1, 0):
            self.create(name, server, 10.0, True, False)

    @may_lose_knowledge
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

    @rule(name=TASKS, server=SERVERS)
    def next_attempt_while_the_first_is_under_way(self, name: str, server: int) -> None:
        """The backend gave up long before the platform answers; the server did not."""
        task = self.tasks[name]
        if task.over or task.attempt >= 3:
            return
        self.platform.latency = 12.0
        self.create(name, server, 2.0, True, True)
        self.next_attempt(name)
        self.create(name, 1 - server, 60.0, True, True)

    @rule(name=TASKS, server=SERVERS)
    def next_attempt_after_lost_answers(self, name: str, server: int) -> None:
        """The platform made a job, and never could tell."""
        task = self.tasks[name]
        if task.over or task.attempt >= 3:
            return
        self.answers_are_lost(99)
        self.create(name, server, 2.0, True, True)
        self.platform.lose_answers = 0
        self.next_attempt(name)
        self.create(name, server, 10.0, True, True)

    @rule(name=TASKS, server=SERVERS)
    def repeat_while_the_platform_is_down(self, name: str, server: int) -> None:
        """Who asks again for what was answered needs no platform."""
        task = self.tasks[name]
        if task.meta is None or task.over or self.servers[server].link.cut or not self.servers_live_on:
            return
        self.run(self.settle_calls())
        was_down = self.platform.down
        self.the_platform_goes_or_comes_back(True)
        meta, task.meta = task.meta, None
        self.create(name, server, 10.0, True, True)
        self.platform.down = was_down
        assert task.meta == meta

    @rule(name=TASKS, server=SERVERS, seconds=st.sampled_from([3.0, 5.0]))
    def give_up_before_the_answer(self, name: str, server: int, seconds: float) -> None:
        self.platform.latency = seconds
        self.create(name, server, 2.0, True, True)
        self.give_up(name)
        self.run(anyio.sleep(seconds))

    @rule(name=TASKS, server=SERVERS, phase=st.sampled_from([Phase.SUCCEEDED, Phase.FAILED]))
    def end_and_run_again(self, name: str, server: int, phase: Phase) -> None:
        """The backend hears of the end, forgets it, asks again, and later runs the name once more."""
        if self.is_watched(name, server):
            self.platform.job(self.name_of_job(name)).phase = phase
            self.poll(name, server)
            self.create(name, 1 - server, 10.0, True, True)
        self.run_again(name)
        self.create(name, server, 10.0, True, True)

    @rule(name=TASKS, server=SERVERS)
    def run_again_after_a_week(self, name: str, server: int) -> None:
        if self.is_watched(name, server):
            for job in self.platform.jobs:
                if job.runs:
                    job.phase = Phase.SUCCEEDED
            self.records_expire()
            self.create(name, server, 10.0, True, True)

    @rule(name=TASKS, server=SERVERS)
    def delete_and_run_again_at_once(self, name: str, server: int) -> None:
        """The deletion was put off, and is still to be carried out when the next run comes, which begins where that one
        ended.
        """
        task = self.tasks[name]
        if task.attempt != 0 or not self.is_watched(name, server):
            return
        self.store_back()
        if self.name_of_job(name) in self.jobs.untold:
            return
        self.the_platform_goes_or_comes_back(True)
        self.delete(name, server)
        self.the_platform_goes_or_comes_back(False)
        self.tasks[name] = Task(name, run=task.run + 1, after_expiry=task.after_expiry)
        self.create(name, server, 10.0, True, True)
