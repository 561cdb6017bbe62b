"""The one retry loop: exponential, full jitter, ``Retry-After`` honoured, never past the time that is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from connectors.errors import ConnectorError

__all__ = ["retrying"]

T = TypeVar("T")
_MOST_OF_IT = 0.75
"""Of the time that is left: a pause leaves some for the try after it, and for another."""


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    until: Callable[[], float],
    initial: float,
    longest: float,
    to_the_end: bool = False,
    also: tuple[type[ConnectorError], ...] = (),
    may_retry: Callable[[], bool] = lambda: True,
    on_pause: Callable[[BaseException | None, float], None] = lambda error, seconds: None,
) -> T:
    """Call until it succeeds, fails for good, or there is no time for another try; then the last error is raised.

    :param attempts: at the most. :param until: the instant, on the event loop's clock, before which a try must start.
    :param initial: seconds; the first pause is a random time up to it. :param longest: seconds; bounds every pause but
        one that the platform asked for.
    :param to_the_end: whether a pause that would take most of the time that is left is drawn anew, from less; else one
        that would end after ``until`` ends the loop. One that the platform asked for is never cut short.
    :param also: errors to be tried again beside those that say they are retryable.
    :param may_retry: asked once before each retry that nothing else stands against.
    :param on_pause: told, before each retry, of the error that it is for and the seconds that it waits.
    """

    def is_retryable(error: BaseException) -> bool:
        return isinstance(error, ConnectorError) and (error.retryable or isinstance(error, also))

    # Nearly every call succeeds at once. To set the loop up takes 190 µs, so the first try is made ahead of it.
    failed: list[Exception] = []
    try:
        return await call()
    except Exception as error:
        if not is_retryable(error):
            raise
        failed.append(error)

    clock = asyncio.get_running_loop().time
    jitter = wait_random_exponential(multiplier=initial, max=longest)
    tried_enough = stop_after_attempt(attempts)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ConnectorError) and error.retry_after else 0.0
        pause, left = jitter(state), until() - clock() - asked
        if to_the_end and pause > _MOST_OF_IT * left and left > initial:
            pause = random.uniform(0, _MOST_OF_IT * left)  # noqa: S311 - guards nothing
        return asked + pause

    def stop(state: RetryCallState) -> bool:
        return tried_enough(state) or clock() + state.upcoming_sleep >= until() or not may_retry()

    def pause(state: RetryCallState) -> None:
        on_pause(state.outcome.exception() if state.outcome else None, state.upcoming_sleep)

    loop = AsyncRetrying(
        sleep=anyio.sleep,
        stop=stop,
        wait=wait,
        retry=retry_if_exception(is_retryable),
        before_sleep=pause,
        reraise=True,
    )

    async def attempt() -> T:
        if failed:
            raise failed.pop()
        return await call()

    return await loop(attempt)
