"""How many retries the calls to one connector may spend together: what damps a storm.

While a platform is down every call fails, and each that tries again makes the load a multiple of what it was. A token
bucket bounds that: a retry takes a token, and where there is none the call ends with the error that it has.
"""

from __future__ import annotations

import asyncio

__all__ = ["RetryBudget", "share_left_by"]

_BURST = 10.0  # seconds' worth
_LEAST_BURST = 2.0  # retries: one for any call, and one above the half that polls leave alone
_POLLS = frozenset({"get", "get_logs", "get_metrics"})


def share_left_by(operation: str) -> float:
    """The share of a full budget that an operation leaves to the others.

    A poll that is not repeated costs nothing: the last known phase goes on, and the next poll comes. A create that
    fails costs its user a retry.
    """
    return 0.5 if operation in _POLLS else 0.0


class RetryBudget:
    """A token bucket, full at first. Its clock is the event loop's."""

    def __init__(self, per_second: float) -> None:
        """:param per_second: retries that are added; ten seconds' worth is kept. 0: there are none at all."""
        self._per_second = per_second
        self._most = max(_BURST * per_second, _LEAST_BURST) if per_second > 0 else 0.0
        self._level = self._most
        self._at = 0.0

    def take(self, *, leave: float = 0.0) -> bool:
        """Take one retry, where that leaves a share of ``leave`` of the full budget."""
        now = asyncio.get_running_loop().time()
        self._level = min(self._most, self._level + (now - self._at) * self._per_second)
        self._at = now
        if self._level - 1 < leave * self._most:
            return False
        self._level -= 1
        return True
