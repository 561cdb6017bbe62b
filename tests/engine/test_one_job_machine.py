"""The state machine of ARCHITECTURE.md under random histories, over every store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from connectors import Phase
from connectors._stores import Store
from connectors._stores.memory import MemoryStore
from connectors._stores.postgresql import PostgresStore
from connectors._stores.redis import RedisStore
from connectors._stores.sqlite import SqliteStore
from tests.engine.one_job_histories import LikelyFaults
from tests.engine.one_job_servers import Clock, Stores
from tests.stores import postgres_server, redis_server

Dedupe = Literal["native", "search"]
pytestmark = pytest.mark.parametrize("dedupe", ["native", "search"])


@contextlib.asynccontextmanager
async def started(store: Store) -> AsyncIterator[Store]:
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


@contextlib.asynccontextmanager
async def in_memory(clock: Clock) -> AsyncIterator[Store]:
    async with started(MemoryStore(clock=clock)) as store:
        yield store


@contextlib.asynccontextmanager
async def on_sqlite(clock: Clock) -> AsyncIterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        async with started(SqliteStore(Path(folder) / "store.db", clock=clock)) as store:
            yield store


def machine(stores: Stores, *, dedupe: Dedupe, inline: bool) -> type[LikelyFaults]:
    members = {"stores": staticmethod(stores), "dedupe": dedupe, "inline": inline}
    return type("OneJobMachine", (LikelyFaults,), members)


def run(stores: Stores, *, examples: int, dedupe: Dedupe, inline: bool) -> None:
    run_state_machine_as_test(
        machine(stores, dedupe=dedupe, inline=inline),
        settings=settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,  # the same histories each time; without it, a long run looks for new ones
            stateful_step_count=30,
            # making a failing history short takes minutes: Stage.shrink is for whoever looks into it
            phases=[Stage.explicit, Stage.generate],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.parametrize("inline", [True, False], ids=["inline results", "results under a prefix"])
def test_one_job_over_memory(dedupe: Dedupe, inline: bool) -> None:
    run(in_memory, examples=32, dedupe=dedupe, inline=inline)


def test_one_job_over_sqlite(dedupe: Dedupe) -> None:
    run(on_sqlite, examples=8, dedupe=dedupe, inline=False)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := redis_server.available():
        pytest.skip(reason)
    with redis_server.redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


def test_one_job_over_redis(redis_url: str, dedupe: Dedupe) -> None:
    @contextlib.asynccontextmanager
    async def on_redis(clock: Clock) -> AsyncIterator[Store]:
        with Redis.from_url(redis_url) as client:
            client.flushall()
        async with started(RedisStore(redis_url, clock=clock)) as store:
            yield store

    run(on_redis, examples=5, dedupe=dedupe, inline=True)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[postgres_server.PostgresServer]:
    if reason := postgres_server.available():
        pytest.skip(reason)
    with postgres_server.postgres_server("fsync=off") as server:
        yield server


def test_one_job_over_postgresql(postgresql: postgres_server.PostgresServer, dedupe: Dedupe) -> None:
    @contextlib.asynccontextmanager
    async def on_postgresql(clock: Clock) -> AsyncIterator[Store]:
        postgresql.execute("DROP SCHEMA public CASCADE")
        postgresql.execute("CREATE SCHEMA public")
        async with started(PostgresStore(postgresql.url, clock=clock)) as store:
            yield store

    run(on_postgresql, examples=4, dedupe=dedupe, inline=False)


# single histories: those in which faults meet, each by itself; and two that ended with two jobs side by side

STEPS: dict[str, Callable[[LikelyFaults], None]] = {
    "at once on both servers": lambda state: state.create_on_both_servers_at_once("t1", 12.0),
    "its server loses the store": lambda state: state.create_broken_off_and_repeated_elsewhere("t1", 0, kill=False),
    "its server is killed": lambda state: state.create_broken_off_and_repeated_elsewhere("t1", 0, kill=True),
    "given up under way": lambda state: state.next_attempt_while_the_first_is_under_way("t1", 0),
    "answers lost": lambda state: state.next_attempt_after_lost_answers("t1", 0),
    "nobody waits": lambda state: state.give_up_before_the_answer("t1", 0, 5.0),
    "run again": lambda state: state.end_and_run_again("t1", 0, Phase.SUCCEEDED),
    "deleted and run again": lambda state: state.delete_and_run_again_at_once("t1", 0),
    "run again after a week": lambda state: state.run_again_after_a_week("t1", 0),
}


@pytest.mark.parametrize("step", STEPS)
def test_one_job_where_faults_meet(dedupe: Dedupe, step: str) -> None:
    state = machine(in_memory, dedupe=dedupe, inline=False)()
    STEPS[step](state)
    state.time_passes(30.0)
    state.no_attempt_has_a_second_job_and_no_task_two_at_once()
    state.teardown()


def test_an_attempt_that_gave_its_key_back_hides_no_attempt_before_it(dedupe: Dedupe) -> None:
    state = machine(in_memory, dedupe=dedupe, inline=False)()
    state.create("t1", 0, 10.0, hears=True, wait=True)
    state.platform.down = True
    for server in (0, 1):  # both are at work on their attempts at once
        state.tasks["t1"].attempt, state.tasks["t1"].meta = server + 1, None
        state.create("t1", server, 10.0 + 20 * server, hears=True, wait=False)
        state.time_passes(1.0)
    state.time_passes(9.0)
    state.platform.down = False
    state.time_passes(20.0)
    state.no_attempt_has_a_second_job_and_no_task_two_at_once()
    state.teardown()


def test_attempts_of_an_earlier_run_hide_no_attempt_before_them(dedupe: Dedupe) -> None:
    state = machine(in_memory, dedupe=dedupe, inline=False)()
    state.create("t1", 0, 10.0, hears=True, wait=True)
    state.next_attempt("t1")
    state.create("t1", 0, 10.0, hears=True, wait=True)
    state.end_and_run_again("t1", 0, Phase.FAILED)
    state.next_attempt("t1")
    state.platform.down = True
    state.create("t1", 0, 2.0, hears=True, wait=True)
    state.platform.down = False
    state.next_attempt("t1")
    state.create("t1", 0, 10.0, hears=True, wait=True)
    state.no_attempt_has_a_second_job_and_no_task_two_at_once()
    state.teardown()
