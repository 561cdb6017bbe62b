"""A signal: what waits for it, and until when. Time is virtual."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from connectors._engine.waiting import Signal
from tests.engine.callers import now

pytestmark = pytest.mark.anyio


async def test_a_signal_that_was_given_is_not_waited_for() -> None:
    signal = Signal()
    signal.give()
    with pytest.raises(StopIteration) as ended:
        signal.wait(until=now()).send(None)
    assert ended.value.value is True


async def test_everybody_who_waits_goes_on_when_it_is_given() -> None:
    signal = Signal()
    waiting = [asyncio.create_task(signal.wait(until=until)) for until in (5.0, 10.0, None)]
    await anyio.sleep(1)
    signal.give()
    signal.give()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert now() == pytest.approx(1.0)


async def test_who_waits_until_an_instant_goes_on_then() -> None:
    assert not await Signal().wait(until=3.0)
    assert now() == pytest.approx(3.0)


async def test_an_instant_that_has_passed_is_not_waited_for() -> None:
    await anyio.sleep(2)
    assert not await Signal().wait(until=1.0)
    assert now() == pytest.approx(2.0)


async def test_one_that_is_cancelled_leaves_the_others_waiting() -> None:
    signal = Signal()
    first, second = (asyncio.create_task(signal.wait(until=until)) for until in (5.0, 10.0))
    await anyio.sleep(1)
    first.cancel()
    await anyio.sleep(1)
    signal.give()
    assert await second
    assert first.cancelled()
