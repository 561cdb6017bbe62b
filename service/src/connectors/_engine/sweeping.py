"""Forgetting what is older than the retention, in small steps, while other work goes on."""

from __future__ import annotations

import logging
import random

import anyio

from connectors._stores import Store, StoreUnavailable

__all__ = ["sweep"]

log = logging.getLogger("connectors.engine")
_STEP, _PAUSE = 1_000, 0.05  # records at a time, seconds between
_EVERY = 60.0  # seconds, and up to as much again: servers that share a store take turns by chance


async def sweep(store: Store, *, retention: float) -> None:
    """Sweep for as long as the server lives.

    :param retention: seconds since a record's last change.
    """
    while True:
        await anyio.sleep(_EVERY * (1 + random.random()))  # noqa: S311 - spreads servers out, guards nothing
        try:
            forgotten = _STEP
            while forgotten == _STEP:
                forgotten = await store.expire(older_than=retention, limit=_STEP)
                await anyio.sleep(_PAUSE)
        except StoreUnavailable as error:
            log.debug("old records could not be swept: %s", error.message)
        except Exception:
            log.exception("old records could not be swept; the next round may succeed")
