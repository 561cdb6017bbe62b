"""Polling a job to its end, over either protocol's stubs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from connectors import Phase

__all__ = ["until_terminal"]


def until_terminal(get: Callable[[], Any]) -> Any:
    """Call ``get`` until the resource that it returns is in a terminal phase, for 30 s at most."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        resource = get()
        if Phase(resource.phase).is_terminal:
            return resource
        time.sleep(0.05)
    raise AssertionError("the job did not end")
