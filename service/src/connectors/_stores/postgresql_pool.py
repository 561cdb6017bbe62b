"""A few connections to one PostgreSQL database, and what its faults mean."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from connectors._stores.postgresql_address import Address
from connectors._stores.postgresql_link import Link, LinkLost, ServerError
from connectors._stores.store import StoreUnavailable, StoreUnfit

__all__ = ["Pool"]

T = TypeVar("T")

# The server's words, since libpq does not tell the code of a refused connection. A server that speaks another language
# counts as unavailable, with its words in the message. The first list wins: one of several hosts may be starting.
_PASSES = re.compile(
    r"starting up|shutting down|recovery mode|not yet accepting|too many (clients|connections)|connection slots"
    r"|no more connections|login has been failing"
)
_STAYS = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|does not exist|not permitted to log in"
    r"|no such (user|database)|is not currently accepting connections|permission denied for database"
    r"|certificate verify failed|does not match host name|does not support SSL|root certificate"
    r"|invalid (port number|\w+ value)"
)
_BROKEN = re.compile(r"08|25|57|XX")
"""Classes of codes after which a session is no good: connection faults, a server that became read-only (a failover),
an operator's or the server's own end of it, internal errors."""
_UNFIT = re.compile(r"25006|28...|3D000|3F000|42501|42P01|42P07")
"""A read-only server, an unknown user, database or schema, missing rights, a missing table, or another program's."""


class Pool:
    """Connections are opened when they are needed, kept, and all dropped when one of them breaks: after a failover or a
    restart of the server the others are as dead.
    """

    def __init__(self, address: Address, *, size: int = 8, timeout: float = 2.0) -> None:
        """:param size: connections at once, 1 or more. :param timeout: seconds for an operation, beside the time to
        connect where that is needed.
        """
        self._address = address
        self._timeout = timeout
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Link] = []
        self._links: set[Link] = set()
        self._is_closed = False

    async def run(self, operation: Callable[[Link], Awaitable[T]], *, timeout: float | None = None) -> T:
        """The operation's answer, on a connection that nobody else uses meanwhile.

        :param timeout: seconds, in place of the pool's.
        :raises StoreUnavailable: for every fault; its cause tells which.
        """
        loop, timeout = asyncio.get_running_loop(), timeout or self._timeout
        doing = "all connections are busy"
        try:
            async with asyncio.timeout(timeout) as scope, self._slots:
                link = self._pop()
                if link is None:
                    doing = "it cannot be reached"
                    scope.reschedule(loop.time() + self._address.connect_timeout)
                    link = await self._new()
                    scope.reschedule(loop.time() + timeout)
                doing = "it does not answer"
                try:
                    return await operation(link)
                finally:
                    self._push(link)
        except TimeoutError as error:
            self._drop()
            raise StoreUnavailable(f"{self._address.name}: {doing}") from error
        except (psycopg.OperationalError, LinkLost) as error:
            self._drop()
            raise StoreUnavailable(self._message(error)) from error
        except ServerError as error:
            if _BROKEN.match(error.sqlstate):
                self._drop()
            raise StoreUnavailable(self._message(error)) from error

    async def open(self, operation: Callable[[Link], Awaitable[T]], *, timeout: float) -> T:
        """As :meth:`run`, for the first operation.

        :raises StoreUnfit: for a fault that stays. :raises StoreUnavailable: for one that passes.
        """
        try:
            return await self.run(operation, timeout=timeout)
        except StoreUnavailable as error:
            cause = error.__cause__
            stays = isinstance(cause, psycopg.OperationalError) and self._stays(str(cause))
            if stays or (isinstance(cause, ServerError) and _UNFIT.match(cause.sqlstate)):
                raise StoreUnfit(error.message) from cause
            raise

    def close(self) -> None:
        """All connections, also those in use. No more are opened."""
        self._is_closed = True
        for link in self._links:
            link.close()
        self._links.clear()
        self._idle.clear()

    async def _new(self) -> Link:
        if self._is_closed:
            raise LinkLost("the store is closed")
        link = await Link.open(self._address.conninfo)
        self._links.add(link)
        if self._is_closed:  # meanwhile
            link.close()
        return link

    def _pop(self) -> Link | None:
        while self._idle:
            link = self._idle.pop()
            link.hear()
            if link.usable:
                return link
            self._links.discard(link)
        return None

    def _push(self, link: Link) -> None:
        if link.usable:
            self._idle.append(link)
        else:
            self._links.discard(link)

    def _drop(self) -> None:
        for link in self._idle:
            link.close()
        self._links.difference_update(self._idle)
        self._idle.clear()

    def _stays(self, words: str) -> bool:
        return _STAYS.search(words) is not None and _PASSES.search(words) is None

    def _message(self, error: Exception) -> str:
        return f"{self._address.name}: {self._address.without_password(str(error))}"
