"""Access tokens that all calls share: fetched once for each identity, and renewed ahead of their end.

Nothing here knows what a token is: a connector keeps what makes its requests a caller's, be it a text, headers or a
signed-in session, by a key that stands for the credentials::

    self._tokens = TokenCache[str]("Acme", ahead=300)  # when the connector is made; its aclose() awaits the cache's

    async def fetch(previous: str | None) -> tuple[str, float]:
        answer = await ctx.http.request("POST", f"{endpoint}/token", json={"id": client_id, "secret": client_secret})
        ...
        remember(token)  # of connectors.secrets: no log line and no error is to show it
        return token, lifetime

    key = hashlib.sha256(f"{client_id}:{client_secret}".encode()).hexdigest()
    token = await self._tokens.get(key, fetch)
    ...
    if answer.status == 401 and self._tokens.refused(key, token):
        raise Unavailable("Acme did not accept the cached access token; a new one will be fetched")
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from connectors._telemetry import current
from connectors.errors import ConnectorError, Unavailable

__all__ = ["TokenCache"]

T = TypeVar("T")

_PAUSE = 10.0  # seconds between attempts to renew a token that is still good
_YOUNG = 30.0  # seconds: a younger token that is refused means that the credentials are bad, not the token

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Token(Generic[T]):
    """Times are the cache's clock's."""

    value: T
    asked_at: float
    due_at: float
    ends_at: float


@dataclass
class _Slot(Generic[T]):
    token: _Token[T] | None = None
    fetching: asyncio.Task[_Token[T]] | None = None
    pause_until: float = 0.0


class TokenCache(Generic[T]):
    """Tokens by identity; the one that was longest not asked for is forgotten first.

    One cache belongs to one event loop. It keeps what ``fetch`` returned, and shows it in no log, error or ``repr``.
    """

    def __init__(
        self,
        platform: str,
        *,
        ahead: float,
        clock: Callable[[], float] = time.monotonic,
        identities: int = 256,
        timeout: float = 30.0,
    ) -> None:
        """:param platform: whose tokens they are, as log lines and errors call it.

        :param ahead: seconds before its end from which a token is renewed; one that lives for less than twice as long
            is renewed halfway.
        :param clock: seconds, never going back.
        :param identities: how many tokens are kept at most.
        :param timeout: seconds for one fetch.
        """
        self._platform = platform
        self._ahead = ahead
        self._clock = clock
        self._identities = identities
        self._timeout = timeout
        self._slots: OrderedDict[str, _Slot[T]] = OrderedDict()
        self._tasks: set[asyncio.Task[_Token[T]]] = set()

    async def get(self, key: str, fetch: Callable[[T | None], Awaitable[tuple[T, float]]]) -> T:
        """A token that is good now.

        Near its end it is renewed in the background, and given meanwhile. A renewal that fails is tried again by the
        next call after ten seconds. Whoever comes while there is none waits for the one fetch that is under way; its
        failure is the failure of all who wait, and is not kept. A caller that gives up takes the token from nobody.

        :param key: the same for the same credentials, and another one where anything of them is another; of what is
            secret, a hash.
        :param fetch: gives a new token, and for how many seconds it is good from now on. It is given the token before,
            be it ended, unless that was refused or forgotten. It may go on when this call is over.
        :raises Unavailable: there is none, and ``fetch`` took longer than the cache's ``timeout``.
        :raises ConnectorError: there is none, and ``fetch`` raised it.
        """
        slot = self._slot(key)
        now = self._clock()
        token = slot.token
        if token is not None and now < token.ends_at:
            if now >= token.due_at and now >= slot.pause_until and slot.fetching is None:
                _ = self._start(slot, fetch)
            return token.value
        fetching = slot.fetching or self._start(slot, fetch)
        # not awaited itself: a caller that is cancelled would cancel it for those who wait with it
        await asyncio.wait((fetching,))
        return fetching.result().value

    def refused(self, key: str, value: T) -> bool:
        """The platform did not accept ``value``: forget it, unless it is younger than 30 seconds.

        :param value: the very object that :meth:`get` gave.
        :returns: whether another token may help: a fresh one that is refused means that the credentials are bad.
        """
        slot = self._slots.get(key)
        token = slot.token if slot is not None else None
        if slot is None or token is None or token.value is not value:
            return True
        if self._clock() - token.asked_at < _YOUNG:
            return False
        slot.token = None
        return True

    async def aclose(self) -> None:
        """End what is under way; whoever waits for it is cancelled."""
        for task in tuple(self._tasks):
            _ = task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _slot(self, key: str) -> _Slot[T]:
        slot = self._slots.setdefault(key, _Slot())
        self._slots.move_to_end(key)
        if len(self._slots) > self._identities:
            self._slots.popitem(last=False)
        return slot

    def _start(
        self, slot: _Slot[T], fetch: Callable[[T | None], Awaitable[tuple[T, float]]]
    ) -> asyncio.Task[_Token[T]]:
        task = asyncio.get_running_loop().create_task(self._fetched(slot, fetch), name=f"token for {self._platform}")
        slot.fetching = task
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(slot, task))
        return task

    async def _fetched(self, slot: _Slot[T], fetch: Callable[[T | None], Awaitable[tuple[T, float]]]) -> _Token[T]:
        asked_at = self._clock()  # counting from here errs on the safe side
        try:
            async with asyncio.timeout(self._timeout):
                value, lifetime = await fetch(slot.token.value if slot.token is not None else None)
        except TimeoutError as error:
            raise Unavailable(f"no access token for {self._platform} within {self._timeout:g} s") from error
        ends_at = asked_at + lifetime
        return _Token(value, asked_at, ends_at - min(self._ahead, lifetime / 2), ends_at)

    def _ended(self, slot: _Slot[T], task: asyncio.Task[_Token[T]]) -> None:
        self._tasks.discard(task)
        slot.fetching = None
        if task.cancelled():
            return
        error = task.exception()
        if (telemetry := current()) is not None:
            telemetry.refreshed(succeeded=error is None)
        if error is None:
            slot.token = task.result()
        else:
            slot.pause_until = self._clock() + _PAUSE
            reason = error.message if isinstance(error, ConnectorError) else type(error).__name__
            _log.warning("no new access token for %s: %s", self._platform, reason)
