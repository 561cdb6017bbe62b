"""Starts the connectors and the store, and says in a line why something does not start."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from urllib.parse import quote

import importlib_metadata

from connectors._registry import LoadFailure, Registered, Registry, describe, one_line
from connectors._settings import address
from connectors._stores import StoreUnfit, open_store
from connectors._stores.watched import StoreObserver, WatchedStore, unobserved
from connectors._telemetry import Telemetry, tell
from connectors.http import HttpClient
from connectors.models import TaskCategory

__all__ = [
    "CLOSE_TIMEOUT",
    "StartError",
    "close_connectors",
    "listen",
    "start_connectors",
    "start_store",
    "store_in_use",
    "version",
]

log = logging.getLogger("connectors.server")

_START_TIMEOUT = 30.0  # seconds for a connector's start()
CLOSE_TIMEOUT = 5.0
"""Seconds for a connector's ``aclose()``, where there is time."""
_OF_THE_HOST = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, None})
"""Errors at binding that another port would not mend. asyncio gives no number where the host is not this machine."""
_HOST = r"(\[[\da-fA-F:.]+\]|[\w.%-]*)(:\d+)?"
_PLACE = re.compile(rf"{_HOST}(,{_HOST})*(/[\w.%-]*)?", re.ASCII)
"""Where a store's server is and which of its databases is meant: what a URL says beside credentials and options."""


class StartError(Exception):
    """The server cannot start. The message is one line, fit for the operator."""


@cache
def version() -> str:
    """This release's version."""
    return str(importlib_metadata.version("connectors-service"))


async def start_connectors(
    registry: Registry, http: HttpClient, telemetry: Callable[[Registered], Telemetry] | None = None
) -> Registry:
    """Call every connector's ``start``, all at once; returns the registry without those that failed.

    :param telemetry: who is told what each of them does from then on.
    """
    started = await asyncio.gather(*(_start(item, http, telemetry) for item in registry))
    failed: dict[TaskCategory, LoadFailure] = {
        item.category: failure for item, failure in zip(registry, started, strict=True) if failure is not None
    }
    return registry.without(failed) if failed else registry


async def _start(
    item: Registered, http: HttpClient, telemetry: Callable[[Registered], Telemetry] | None
) -> LoadFailure | None:
    def failure(reason: str, error: BaseException) -> LoadFailure:
        text = f"the connector of {item.category} did not start{reason}"
        return LoadFailure(item.plugin, item.distribution, text, "start", error)

    if telemetry is not None:
        tell(telemetry(item))
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            await item.connector.start(http)
    except TimeoutError as error:
        return failure(f" within {_START_TIMEOUT:g} s", error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything
        return failure(f": {one_line(describe(error))}", error)
    return None


async def close_connectors(registry: Registry, *, within: float = CLOSE_TIMEOUT) -> None:
    """Call every connector's ``aclose``, all at once. What goes wrong, or takes longer than ``within`` seconds, is
    logged.
    """
    await asyncio.gather(*(_close(item, within) for item in registry))


async def _close(item: Registered, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            await item.connector.aclose()
    except TimeoutError:
        log.warning("the connector of %s did not close within %.2g s", item.category, within)
    except Exception:
        log.exception("the connector of %s did not close", item.category)


async def start_store(url: str, observe: StoreObserver = unobserved) -> WatchedStore:
    """Open the idempotency store. One that is out of reach now is no error: it is looked for from here on.

    :param observe: told of each call.
    :raises StartError: the URL names none, or the store cannot be used. The URL is not repeated: it may hold a
    password.
    """
    try:
        store = WatchedStore(open_store(url), observe)
    except ValueError as error:
        raise StartError(f"--store: {error}") from error
    try:
        await store.start()
    except StoreUnfit as error:
        await store.aclose()
        raise StartError(f"--store: {error.message}") from error
    return store


def store_in_use(url: str) -> str:
    """The URL of a store that was opened, for the log: with the path of the user's own file where it names none, and
    with nothing that may hold a password: of a store on the network host, port and database.
    """
    scheme, _, rest = (url or "sqlite://").partition("://")
    if scheme != "sqlite":
        address, _, more = rest.partition("?")
        place = address.rpartition("@")[2]
        # an "@" behind the "?" may belong to a password in which neither is escaped
        return f"{scheme}://{place}" if "@" not in more and _PLACE.fullmatch(place) else f"{scheme}://"
    from connectors._stores.sqlite import default_path  # noqa: PLC0415 - a store's module is imported where it is used

    return f"sqlite://{rest or quote(str(default_path()))}"


async def listen(
    start: Callable[[str, int], Awaitable[tuple[str, int]]], host: str, port: int, *, host_flag: str, port_flag: str
) -> str:
    """Bind a server; returns the address that it has, as ``host:port``.

    :param port: 0 takes a free one, of the host's first address: each address would take another port, and one is
        announced. :param host_flag: the setting that chose the host. :param port_flag: the one that chose the port.
    :raises StartError: it cannot be bound. The message names the setting at fault.
    """
    flag = host_flag
    try:
        return address(*await start(host if port else await _first_address(host), port))
    except socket.gaierror as error:
        reason = error.strerror or str(error)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        if error.errno not in _OF_THE_HOST:
            flag = port_flag
    except ValueError:  # the codec that host names go through refuses some of them, and so does a character NUL
        reason = "this can be no host's name"
    raise StartError(f"cannot listen on {address(host, port)} ({flag}): {reason}")


async def _first_address(host: str) -> str:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # not the address as it stands there: that of one network interface alone would lose the interface's name
    numeric, _ = socket.getnameinfo(found[0][4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return numeric
