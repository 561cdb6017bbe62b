"""Waiting for what happens in another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["until"]

_BOUND_S = 60.0  # a command starts Python, and the machine may be busy


async def until(reached: Callable[[], bool]) -> None:
    """Lets the event loop turn until ``reached``; fails when that never comes."""
    async with asyncio.timeout(_BOUND_S):
        while not reached():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
