"""One access token per identity for the whole server, fetched ahead of its end by one request at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from connectors import ConnectorError, HttpClient, Unavailable
from connectors.secrets import remember

__all__ = ["AccessToken", "Grant", "Identity", "TokenCache"]

_AHEAD = 225.0  # seconds before its end that a token is replaced; Google's metadata server has a new one from 300 s on
_PAUSE = 10.0  # seconds between attempts to replace a token that is still good
_FETCH_TIMEOUT = 30.0  # seconds
_YOUNG = 30.0  # seconds: a younger token that is refused means that the credentials are bad, not the token

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grant:
    """A new token, as the token endpoint gave it."""

    value: str = field(repr=False)
    lifetime: float
    """Seconds from now."""
    quota_project: str | None = None
    """The project that pays for the API call, where it is not the credentials' own."""


class Identity(Protocol):
    """Credentials that can ask for a token."""

    @property
    def key(self) -> str:
        """The same for the same credentials. Not a secret."""

    async def fetch(self, http: HttpClient) -> Grant:
        """A new token.

        :raises ConnectorError: as it says.
        """


@dataclass(frozen=True)
class AccessToken:
    """A token in the cache. Times are the cache's clock's."""

    grant: Grant
    fetched_at: float

    def headers(self) -> dict[str, str]:
        """What a request carries."""
        headers = {"Authorization": f"Bearer {self.grant.value}"}
        if self.grant.quota_project:
            headers["x-goog-user-project"] = self.grant.quota_project
        return headers

    @property
    def ends_at(self) -> float:
        return self.fetched_at + self.grant.lifetime

    @property
    def due_at(self) -> float:
        """When it should be replaced; one that lives shortly, halfway."""
        return self.ends_at - min(_AHEAD, self.grant.lifetime / 2)


@dataclass
class _Slot:
    token: AccessToken | None = None
    fetching: asyncio.Task[AccessToken] | None = None
    pause_until: float = 0.0


class TokenCache:
    """Tokens by identity; the one that was longest not asked for is forgotten first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, identities: int = 256) -> None:
        """:param clock: seconds, never going back. :param identities: how many tokens are kept at most."""
        self._clock = clock
        self._identities = identities
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._tasks: set[asyncio.Task[AccessToken]] = set()

    async def get(self, identity: Identity, http: HttpClient) -> AccessToken:
        """A token that is good now.

        Near its end it is replaced in the background, and answered with meanwhile. Whoever comes while there is none
        waits for the one request that is under way.

        :raises ConnectorError: there is none, and the credentials did not get one.
        """
        slot = self._slot(identity.key)
        now = self._clock()
        token = slot.token
        if token is not None and now < token.ends_at:
            if now >= token.due_at and now >= slot.pause_until and slot.fetching is None:
                _ = self._start(slot, identity, http)
            return token
        # shielded: a caller that gives up does not take the token from those who wait with it
        return await asyncio.shield(slot.fetching or self._start(slot, identity, http))

    def refused(self, identity: Identity, token: AccessToken) -> bool:
        """The platform did not accept ``token``: forget it, unless it is brand-new. Whether another one may help."""
        if self._clock() - token.fetched_at < _YOUNG:
            return False
        slot = self._slots.get(identity.key)
        if slot is not None and slot.token is token:
            slot.token = None
        return True

    async def aclose(self) -> None:
        """End what is under way."""
        for task in tuple(self._tasks):
            _ = task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _slot(self, key: str) -> _Slot:
        slot = self._slots.setdefault(key, _Slot())
        self._slots.move_to_end(key)
        if len(self._slots) > self._identities:
            self._slots.popitem(last=False)
        return slot

    def _start(self, slot: _Slot, identity: Identity, http: HttpClient) -> asyncio.Task[AccessToken]:
        async def fetch() -> AccessToken:
            asked_at = self._clock()  # counting from here errs on the safe side
            try:
                async with asyncio.timeout(_FETCH_TIMEOUT):
                    grant = await identity.fetch(http)
            except TimeoutError as error:
                raise Unavailable(f"no access token from Google within {_FETCH_TIMEOUT:.0f} s") from error
            remember(grant.value)  # an answer that repeats it is shown without it
            return AccessToken(grant, asked_at)

        def done(task: asyncio.Task[AccessToken]) -> None:
            self._tasks.discard(task)
            slot.fetching = None
            if task.cancelled():
                return
            error = task.exception()
            if error is None:
                slot.token = task.result()
            else:
                slot.pause_until = self._clock() + _PAUSE
                reason = error.message if isinstance(error, ConnectorError) else type(error).__name__
                _log.warning("no new access token for BigQuery: %s", reason)

        task = asyncio.get_running_loop().create_task(fetch(), name="bigquery-token")
        slot.fetching = task
        self._tasks.add(task)
        task.add_done_callback(done)
        return task
