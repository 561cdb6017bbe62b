"""What is told beside the calls' events: what came of keys, of platforms and of tokens; and what can be read of the
engine at any time.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from connectors import Context, NotFound, Phase, RateLimited, Resource, Unavailable
from connectors._engine.admission import LineState
from connectors._engine.engine import Engine
from connectors._engine.events import KeyOutcome, RateLimit, RateLimitPause, TokenRefresh
from connectors._engine.options import ConnectorLimits
from connectors._engine.requests import Caller
from connectors._engine.reservation import KeyUsed
from connectors.tokens import TokenCache
from tests.engine.callers import in_seconds
from tests.engine.harness import Bench, Job, create_request, job_request
from tests.engine.job_platform import JobConnector, Platform

pytestmark = pytest.mark.anyio


def run_of(attempt: int) -> Any:
    return create_request("jobs", prefix=f"s3://b/run/n0/{attempt}")


async def test_a_create_that_made_a_job_is_new_and_its_repeat_is_repeated(bench: Bench) -> None:
    async with bench.engine() as engine:
        meta = await engine.create(create_request())
        await engine.create(create_request())
    assert bench.outcomes == ["new", "repeated"]
    told = bench.facts[0]
    assert isinstance(told, KeyOutcome)
    assert (told.task_type, told.key, told.meta, told.heard) == ("acme", bench.acme.keys[0], meta, True)
    assert told.execution is not None
    assert told.execution.execution == "ex1"


async def test_a_create_that_joins_another_in_this_server_is_told_by_its_event(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(1)
    async with bench.engine() as engine, anyio.create_task_group() as callers:
        for _ in range(3):
            callers.start_soon(engine.create, create_request())
    assert sorted(event.joined for event in bench.events) == [False, True, True]
    assert bench.outcomes == ["new"]


async def test_a_create_that_waits_for_another_server_has_waited(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(1)
    async with bench.engine() as one, bench.engine() as two, anyio.create_task_group() as callers:
        for engine in (one, two):
            callers.start_soon(engine.create, create_request())
    assert bench.outcomes == ["new", "waited"]


async def test_a_job_that_is_taken_over_is_adopted(bench: Bench) -> None:
    platform = Platform()
    bench.extra = (JobConnector(platform, "native", inline=True),)
    async with bench.engine() as engine:
        await engine.create(run_of(0))
        await engine.create(run_of(1))
    assert bench.outcomes == ["new", "adopted"]


async def test_a_job_that_is_cancelled_for_the_next_attempt_is_told_before_the_new_one(bench: Bench) -> None:
    platform = Platform()
    bench.extra = (JobConnector(platform, "native", inline=False),)
    async with bench.engine() as engine:
        first = await engine.create(run_of(0))
        await engine.create(run_of(1))
    assert bench.outcomes == ["new", "cancelled", "new"]
    cancelled = bench.facts[1]
    assert isinstance(cancelled, KeyOutcome)
    assert cancelled.meta == first


async def test_a_create_that_fails_without_proof_leaves_its_key_unknown(bench: Bench) -> None:
    def fails(ctx: Context) -> None:
        raise Unavailable("gone")

    bench.acme.on_create = fails
    async with bench.engine(limits=ConnectorLimits(attempts=1)) as engine:
        with pytest.raises(Unavailable):
            await engine.create(create_request())
    assert bench.outcomes == ["unknown"]


async def test_a_create_that_fails_with_proof_has_no_outcome(bench: Bench) -> None:
    def fails(ctx: Context) -> None:
        raise NotFound("no such warehouse")

    bench.acme.on_create = fails
    async with bench.engine() as engine:
        with pytest.raises(NotFound):
            await engine.create(create_request())
    assert bench.outcomes == []


async def test_a_job_that_is_made_when_all_callers_have_gone_is_told_as_unheard(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(20)
    async with bench.engine() as engine:
        with pytest.raises(Exception, match="no answer in time"):
            await engine.create(create_request(caller=in_seconds(5)))
        await anyio.sleep(30)
    assert [(fact.outcome, fact.heard) for fact in bench.facts if isinstance(fact, KeyOutcome)] == [("new", False)]


async def test_a_key_of_another_request_is_an_error_of_its_own(bench: Bench) -> None:
    caller = Caller("flyte1", idempotency_key="mine")
    async with bench.engine() as engine:
        await engine.create(create_request(caller=caller))
        with pytest.raises(KeyUsed, match="idempotency-key was used for another request"):
            await engine.create(create_request(caller=caller, custom={"other": 1}))
    assert [event.error for event in bench.events] == ["", "KeyUsed"]
    assert bench.events[1].status == "ALREADY_EXISTS"


@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_a_do_that_was_carried_out_is_new_and_its_repeat_is_repeated(bench: Bench, protocol: Any) -> None:
    request = create_request("echo", inputs={"a": 1}, caller=Caller(protocol))
    async with bench.engine() as engine:
        for _ in range(2):
            await (engine.do(request) if protocol == "flyte1" else engine.create(request))
            await anyio.sleep(1)
    assert bench.echo.calls == 1
    assert bench.outcomes == ["new", "repeated"]


async def test_a_rate_limit_is_told_with_the_pause_that_it_costs(bench: Bench) -> None:
    def limited(ctx: Context) -> None:
        if len(bench.acme.keys) == 1:
            raise RateLimited("slow down", retry_after=3.0)

    bench.acme.on_create = limited
    async with bench.engine() as engine:
        await engine.create(create_request())
    limit, pause, _ = bench.facts
    assert limit == RateLimit("acme")
    assert isinstance(pause, RateLimitPause)
    assert 3.0 <= pause.seconds <= 3.1


async def test_a_rate_limit_on_the_last_try_costs_no_pause(bench: Bench) -> None:
    def limited(ctx: Context) -> Resource:
        raise RateLimited("slow down")

    bench.acme.on_get = limited
    async with bench.engine(limits=ConnectorLimits(attempts=1)) as engine:
        await engine.get(job_request(Job("j").encode()))
    assert bench.facts == [RateLimit("acme")]


async def test_tokens_are_told_by_the_connector_whose_call_fetched_them(bench: Bench) -> None:
    cache: TokenCache[str] = TokenCache("Acme", ahead=10, clock=asyncio.get_running_loop().time)
    fails = [True, False]

    async def fetch(previous: str | None) -> tuple[str, float]:
        if fails.pop(0):
            raise NotFound("no such account")
        return "token", 3_600.0

    async def get(ctx: Context) -> Resource:
        await cache.get("me", fetch)
        return Resource(Phase.RUNNING)

    bench.acme.on_get = get
    async with bench.engine() as engine:
        for _ in range(3):
            await engine.get(job_request(Job("j").encode()))
    await cache.aclose()
    told = [TokenRefresh("acme", "acme", succeeded=False), TokenRefresh("acme", "acme", succeeded=True)]
    assert bench.facts == told


async def test_what_an_observer_of_facts_raises_harms_no_call(bench: Bench) -> None:
    class Broken(list[Any]):
        def append(self, fact: object) -> None:
            raise ValueError("a bug of the observer's")

    bench.facts = Broken()
    async with bench.engine() as engine:
        await engine.create(create_request())
    assert bench.events[0].status == "OK"


# --- what is read


def standing(engine: Engine) -> tuple[int, int]:
    """How many of acme's jobs meet a fault, and how old the oldest is, in whole seconds."""
    jobs, age = engine.standing_faults["acme"]
    return jobs, round(age)


async def test_the_limit_of_a_connector_shows_who_is_in_and_who_waits(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(1)
    async with bench.engine(limits=ConnectorLimits(concurrency=2)) as engine:
        assert engine.admission == {"acme": LineState(0, 0, 2), "echo": LineState(0, 0, 2)}
        async with anyio.create_task_group() as callers:
            for number in range(5):
                callers.start_soon(engine.create, create_request(prefix=f"s3://{number}/n0/0"))
            await anyio.sleep(0.5)
            assert engine.admission["acme"] == LineState(2, 3, 2)
        await anyio.sleep(0.5)
        assert engine.admission["acme"] == LineState(0, 0, 2)


async def test_a_fault_stands_from_its_first_poll_until_the_platform_answers(bench: Bench) -> None:
    def fails(ctx: Context) -> Resource:
        raise NotFound("cannot be seen")

    async with bench.engine() as engine:
        bench.acme.on_get = fails
        await engine.get(job_request(Job("a").encode()))
        await anyio.sleep(10)
        await engine.get(job_request(Job("b").encode()))
        await anyio.sleep(5)
        assert standing(engine) == (2, 15)
        bench.acme.on_get = lambda ctx: Resource(Phase.RUNNING)
        await engine.get(job_request(Job("a").encode()))
        assert standing(engine) == (1, 5)
        await engine.get(job_request(Job("b").encode()))
        assert engine.standing_faults == {}


async def test_a_fault_that_nobody_asks_for_any_more_stands_no_longer(bench: Bench) -> None:
    def fails(ctx: Context) -> Resource:
        raise NotFound("cannot be seen")

    bench.acme.on_get = fails
    async with bench.engine() as engine:
        await engine.get(job_request(Job("a").encode()))
        await anyio.sleep(599)
        assert "acme" in engine.standing_faults
        await anyio.sleep(2)
        assert engine.standing_faults == {}


async def test_a_job_that_ended_has_no_fault_that_stands(bench: Bench) -> None:
    def fails(ctx: Context) -> Resource:
        raise NotFound("cannot be seen")

    async with bench.engine() as engine:
        bench.acme.on_get = fails
        await engine.get(job_request(Job("a").encode()))
        await engine.delete(job_request(Job("a").encode()))
        assert engine.standing_faults == {}
