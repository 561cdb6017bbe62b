"""Deadlines that share timers are exact all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._wire.transport.deadlines import Deadlines, Timer
from connectors.testing.virtual_time import VirtualTimeLoop

T = TypeVar("T")


class Told:
    """Falls due, and remembers when."""

    def __init__(self) -> None:
        self.timer: Timer | None = None
        self.at: list[float] = []

    def due(self) -> None:
        self.timer = None
        self.at.append(asyncio.get_running_loop().time())


def in_virtual_time(test: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await test()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


@given(waits=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20), forgotten=st.sets(st.integers(0, 19)))
def test_each_is_told_at_its_own_instant_unless_it_was_forgotten(waits: list[float], forgotten: set[int]) -> None:
    async def told() -> None:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()
        all_told = [Told() for _ in waits]
        start = loop.time()
        for each, wait in zip(all_told, waits, strict=True):
            deadlines.watch(each, start + wait, loop)
        for number in forgotten & set(range(len(waits))):
            deadlines.forget(all_told[number], loop)
        await asyncio.sleep(4)
        for number, (each, wait) in enumerate(zip(all_told, waits, strict=True)):
            assert each.at == ([] if number in forgotten else [pytest.approx(start + wait, abs=1e-6)])
        assert not deadlines._slices

    in_virtual_time(told)


def test_one_that_is_forgotten_shortly_before_its_instant_is_not_told() -> None:
    async def told() -> None:
        loop, deadlines, one, other = asyncio.get_running_loop(), Deadlines(), Told(), Told()
        when = loop.time() + 1.0
        deadlines.watch(one, when, loop)
        deadlines.watch(other, when, loop)
        await asyncio.sleep(0.9999)
        deadlines.forget(one, loop)
        await asyncio.sleep(1)
        assert one.at == []
        assert len(other.at) == 1

    in_virtual_time(told)


def test_a_thousand_calls_that_fall_due_together_take_a_few_timers() -> None:
    async def timers() -> int:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()
        for number in range(1000):
            deadlines.watch(Told(), loop.time() + 10 + number / 2000, loop)
        return len(deadlines._slices)

    assert in_virtual_time(timers) <= 5


def test_timers_far_ahead_are_given_up_with_the_last_call_that_needs_them() -> None:
    async def timers() -> tuple[int, int]:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()
        soon, late = ([Told() for _ in range(10)] for _ in range(2))
        for number, each in enumerate(soon):
            deadlines.watch(each, loop.time() + 5 + number, loop)
        for number, each in enumerate(late):
            deadlines.watch(each, loop.time() + 3600 + number, loop)
        for each in [*soon, *late]:
            deadlines.forget(each, loop)
        kept = len(deadlines._slices)
        await asyncio.sleep(20)
        return kept, len(deadlines._slices)

    assert in_virtual_time(timers) == (10, 0)
