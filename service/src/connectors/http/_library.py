"""aiohttp, loaded with the first request, and beside the event loop: it takes 0.2 s, in which other calls go on."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from types import ModuleType

__all__ = ["loaded"]

_loading: list[Future[ModuleType]] = []


async def loaded() -> None:
    """Wait until aiohttp can be imported at once; so it can where another has imported it.

    :raises ImportError: it is not installed.
    """
    if not _loading:
        if "aiohttp" in sys.modules:
            return
        thread = ThreadPoolExecutor(1, "connectors-http")
        _loading.append(thread.submit(import_module, "aiohttp"))
        thread.shutdown(wait=False)
    if not _loading[0].done():
        await asyncio.shield(asyncio.wrap_future(_loading[0]))  # who gives up takes it from nobody
