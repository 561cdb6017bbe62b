"""The retry loop and its budget. Time is virtual."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest

from connectors import (
    Conflict,
    ConnectorError,
    DeadlineExceeded,
    PermissionDenied,
    Phase,
    RateLimited,
    Resource,
    Unauthenticated,
    Unavailable,
)
from connectors._engine.options import ConnectorLimits
from connectors._engine.requests import Caller
from connectors._engine.retry import retrying
from connectors._engine.retry_budget import RetryBudget, share_left_by
from connectors.http import error_for_status
from tests.engine.callers import Script, now
from tests.engine.harness import Bench, Job, create_request, job_request

pytestmark = pytest.mark.anyio


class Platform:
    """Fails as it is told; after that it answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[float] = []

    async def __call__(self) -> str:
        self.calls.append(now())
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


async def call(
    platform: Platform,
    *,
    attempts: int = 4,
    until: float = 1_000.0,
    initial: float = 0.1,
    longest: float = 5.0,
    to_the_end: bool = False,
    may_retry: Callable[[], bool] = lambda: True,
) -> str:
    return await retrying(
        platform,
        attempts=attempts,
        until=lambda: until,
        initial=initial,
        longest=longest,
        to_the_end=to_the_end,
        may_retry=may_retry,
    )


# --- the loop


async def test_what_succeeds_is_called_once() -> None:
    platform = Platform()
    assert await call(platform) == "answer"
    assert platform.calls == [0]


@pytest.mark.parametrize("error", [Conflict(), DeadlineExceeded(), ConnectorError(), ValueError()])
async def test_what_does_not_say_that_it_is_retryable_is_not_tried_again(error: Exception) -> None:
    platform = Platform(error)
    with pytest.raises(type(error)):
        await call(platform)
    assert len(platform.calls) == 1


async def test_the_last_error_is_the_one_that_is_raised() -> None:
    platform = Platform(Unavailable("first"), Unavailable("second"), Conflict("last"))
    with pytest.raises(Conflict, match="last"):
        await call(platform)


async def test_pauses_are_random_below_a_bound_that_doubles_up_to_the_longest() -> None:
    bounds = [1.0, 2.0, 4.0, 8.0, 8.0]
    seen: list[list[float]] = []
    for _ in range(200):
        platform = Platform(*[Unavailable()] * 5)
        await call(platform, attempts=6, initial=1.0, longest=8.0, until=now() + 1_000)
        seen.append([after - before for before, after in zip(platform.calls, platform.calls[1:], strict=False)])
    for number, bound in enumerate(bounds):
        pauses = [each[number] for each in seen]
        assert max(pauses) <= bound
        assert min(pauses) < bound / 4  # full jitter: from 0 on
        assert max(pauses) > bound * 3 / 4


async def tries_in_ten_seconds(*, to_the_end: bool) -> list[int]:
    made = []
    for _ in range(200):
        platform, end = Platform(*[Unavailable()] * 20), now() + 10
        with pytest.raises(Unavailable):
            await call(platform, attempts=10, until=end, to_the_end=to_the_end)
        assert platform.calls[-1] < end
        made.append(len(platform.calls))
    return made


async def test_a_pause_that_is_longer_than_the_time_that_is_left_ends_the_loop() -> None:
    made = await tries_in_ten_seconds(to_the_end=False)
    assert sum(number < 10 for number in made) > 60


async def test_where_the_time_is_to_be_used_to_the_end_a_shorter_pause_is_drawn() -> None:
    made = await tries_in_ten_seconds(to_the_end=True)
    assert sum(number < 10 for number in made) < 20


async def test_a_pause_that_the_platform_asks_for_is_not_cut_short_to_use_the_time_to_the_end() -> None:
    platform = Platform(RateLimited(retry_after=30))
    with pytest.raises(RateLimited):
        await call(platform, until=10, to_the_end=True)
    assert platform.calls == [0]


async def test_the_pause_that_the_platform_asks_for_is_kept_to() -> None:
    platform = Platform(RateLimited(retry_after=30), Unavailable(retry_after=7))
    await call(platform)
    first, second, third = platform.calls
    assert 30 <= second - first <= 30.2
    assert 7 <= third - second <= 7.2


async def test_the_pause_that_a_date_asks_for_is_kept_to() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    platform = Platform(error_for_status(503, "told", {"Retry-After": date}))
    await call(platform)
    first, second = platform.calls
    assert 50 <= second - first <= 60.2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_does_not_fit_before_the_end_ends_the_loop_at_once(status: int) -> None:
    platform = Platform(error_for_status(status, "told", {"Retry-After": "20"}))
    with pytest.raises(ConnectorError):
        await call(platform, until=10)
    assert platform.calls == [0]
    assert now() == 0


async def test_no_try_starts_at_or_after_the_end() -> None:
    for _ in range(50):
        start = now()
        platform = Platform(*[Unavailable()] * 1_000)
        with pytest.raises(Unavailable):
            await call(platform, attempts=1_000, initial=1.0, longest=1.0, until=start + 10)
        assert platform.calls[-1] < start + 10
        assert now() == platform.calls[-1]  # and nothing is waited for after the last


async def test_permission_is_asked_once_for_each_retry_that_would_be_made() -> None:
    asked: list[float] = []

    def may_retry() -> bool:
        asked.append(now())
        return True

    await call(Platform(), may_retry=may_retry)
    for error in (Conflict(), RateLimited(retry_after=20)):
        with pytest.raises(ConnectorError):
            await call(Platform(error), until=10, may_retry=may_retry)
    assert asked == []
    with pytest.raises(Unavailable):
        await call(Platform(*[Unavailable()] * 9), attempts=3, may_retry=may_retry)
    assert len(asked) == 2


async def test_without_permission_the_error_is_raised_at_once() -> None:
    platform = Platform(Unavailable("down"))
    with pytest.raises(Unavailable, match="down"):
        await call(platform, may_retry=lambda: False)
    assert platform.calls == [0]
    assert now() == 0


# --- the budget


def taken(budget: RetryBudget, **options: Any) -> int:
    count = 0
    while budget.take(**options):
        count += 1
    return count


async def test_a_budget_holds_ten_seconds_worth_and_is_full_at_first() -> None:
    await anyio.sleep(1_000)
    budget = RetryBudget(10)
    assert taken(budget) == 100
    await anyio.sleep(1_000)
    assert taken(budget) == 100


async def test_a_spent_budget_fills_at_its_rate() -> None:
    budget = RetryBudget(4)
    taken(budget)
    await anyio.sleep(2.6)
    assert taken(budget) == 10
    await anyio.sleep(0.25)
    assert taken(budget) == 1


async def test_a_budget_of_nothing_is_none() -> None:
    budget = RetryBudget(0)
    await anyio.sleep(1_000)
    assert not budget.take()


async def test_a_small_budget_allows_a_retry_now_and_then_also_to_polls() -> None:
    budget = RetryBudget(0.01)
    assert taken(budget, leave=0.5) == 1
    assert taken(budget) == 1
    await anyio.sleep(100)
    assert taken(budget) == 1


async def test_polls_leave_half_of_it_to_the_others() -> None:
    budget = RetryBudget(10)
    assert taken(budget, leave=share_left_by("get")) == 50
    assert taken(budget, leave=share_left_by("create")) == 50


@pytest.mark.parametrize(
    ("operation", "share"),
    [("create", 0), ("do", 0), ("delete", 0), ("get", 0.5), ("get_logs", 0.5), ("get_metrics", 0.5)],
)
def test_only_what_is_asked_again_anyway_leaves_a_share(operation: str, share: float) -> None:
    assert share_left_by(operation) == share


# --- in the engine

META = Job("j").encode()


async def fails(ctx: object) -> None:
    raise Unavailable("HTTP 503")


async def create_that_fails(engine: Any, name: str) -> None:
    with pytest.raises(Unavailable):
        await engine.create(create_request(prefix=f"s3://bucket/{name}/0"))


async def test_the_creates_of_one_connector_share_a_budget(bench: Bench) -> None:
    bench.acme.on_create = fails
    async with bench.engine(limits=ConnectorLimits(attempts=100, retry_budget=1), retry_max=0.1) as engine:
        async with anyio.create_task_group() as callers:
            for number in range(50):
                callers.start_soon(create_that_fails, engine, str(number))
        assert 60 <= len(bench.acme.keys) <= 61  # each once, the burst of ten, and what came while they were spent
        assert sum(event.retry_denied for event in bench.events) == 50
        await anyio.sleep(5)
        bench.acme.keys.clear()
        await create_that_fails(engine, "later")
        assert len(bench.acme.keys) >= 6


async def test_a_connector_s_own_budget_takes_the_place_of_the_general_one(bench: Bench) -> None:
    bench.acme.on_create = fails
    own = {"acme": ConnectorLimits(attempts=3, retry_budget=0)}
    async with bench.engine(per_connector=own) as engine:
        await create_that_fails(engine, "x")
    assert len(bench.acme.keys) == 1
    assert [(event.attempts, event.retry_denied) for event in bench.events] == [(1, True)]


async def test_a_poll_without_a_retry_is_answered_at_once_with_the_last_known_phase(bench: Bench) -> None:
    bench.acme.on_get = fails
    async with bench.engine(limits=ConnectorLimits(retry_budget=0)) as engine:
        resource = await engine.get(job_request(META))
    assert resource.phase is Phase.RUNNING
    assert now() == 0
    assert bench.events[-1].retry_denied
    assert bench.events[-1].shielded


@pytest.mark.parametrize("fault", [Unauthenticated, PermissionDenied])
async def test_a_poll_that_meets_a_rotation_of_credentials_is_tried_again(
    bench: Bench, fault: type[ConnectorError]
) -> None:
    bench.acme.on_get = Script(fault(), fault(), Resource(Phase.SUCCEEDED))
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.SUCCEEDED
    assert bench.events[-1].attempts == 3


async def test_a_poll_whose_exchange_took_too_long_is_tried_again_while_there_is_time(bench: Bench) -> None:
    faults = [DeadlineExceeded("one exchange")]

    async def answer(ctx: object) -> Resource:
        if faults:
            await anyio.sleep(2)
            raise faults.pop()
        return Resource(Phase.SUCCEEDED)

    bench.acme.on_get = answer
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.SUCCEEDED
    assert bench.events[-1].attempts == 2


@pytest.mark.parametrize("fault", [Unauthenticated, PermissionDenied])
async def test_a_create_without_the_right_is_tried_once(bench: Bench, fault: type[ConnectorError]) -> None:
    async def refuse(ctx: object) -> None:
        raise fault

    bench.acme.on_create = refuse
    async with bench.engine() as engine:
        with pytest.raises(fault):
            await engine.create(create_request())
    assert len(bench.acme.keys) == 1


async def test_polls_cannot_spend_the_retries_of_creates(bench: Bench) -> None:
    bench.acme.on_get = bench.acme.on_create = fails
    async with bench.engine(limits=ConnectorLimits(attempts=4, retry_budget=1)) as engine:
        for _ in range(30):
            await engine.get(job_request(META, caller=Caller("flyte1", deadline=now() + 10)))
        polls = sum(event.attempts - 1 for event in bench.events)
        assert 5 <= polls <= 5 + now() + 1
        await create_that_fails(engine, "x")
    assert bench.events[-1].attempts == 4
    assert not bench.events[-1].retry_denied


async def test_a_call_that_ran_out_of_tries_was_not_denied_any(bench: Bench) -> None:
    bench.acme.on_create = fails
    async with bench.engine(limits=ConnectorLimits(attempts=2)) as engine:
        await create_that_fails(engine, "x")
    assert [(event.attempts, event.retry_denied) for event in bench.events] == [(2, False)]
