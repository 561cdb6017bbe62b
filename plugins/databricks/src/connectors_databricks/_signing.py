"""What makes a request a caller's: one set of headers per identity for the whole server, renewed ahead of its end.

A token needs nothing more. Every other way to sign in is the Databricks SDK's own
(https://docs.databricks.com/dev-tools/auth/unified-auth): it blocks, so it runs in threads, and it is loaded when it is
first needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from connectors import ConnectorError, Unavailable
from connectors.http import Egress
from connectors.secrets import remember
from connectors_databricks._sdk import SdkSession, open_session
from connectors_databricks._threads import Threads

__all__ = ["Credentials", "Signature", "Signer"]

_PAUSE = 10.0  # seconds between attempts to renew what is still good
_TIMEOUT = 30.0  # seconds for the SDK to sign in
_YOUNG = 30.0  # seconds: younger headers that are refused mean that the credentials are bad, not the token

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """How to sign in to one workspace."""

    host: str
    """The workspace's URL."""
    token: str = field(default="", repr=False)
    """A token, which is all."""
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the SDK's ``Config`` is made of otherwise, beside what it finds in the environment."""

    @cached_property
    def key(self) -> str:
        """The same for the same credentials. Not a secret."""
        return hashlib.sha256(json.dumps([self.host, dict(self.attributes)], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Signature:
    """Headers that sign a request. Times are the signer's clock's, in seconds."""

    headers: Mapping[str, str] = field(repr=False)
    made_at: float
    renew_at: float
    ends_at: float


class Session(Protocol):
    """One identity, signed in."""

    def sign(self) -> tuple[Mapping[str, str], float]:
        """The headers, and for how many seconds they are good. It blocks.

        :raises ConnectorError: the credentials were refused, or nobody could be asked.
        """


@dataclass
class _Slot:
    signature: Signature | None = None
    session: Session | None = None
    signing: asyncio.Task[Signature] | None = None
    pause_until: float = 0.0


class Signer:
    """Headers by identity; the identity that was longest not asked for is forgotten first."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        identities: int = 256,
        open_session: Callable[[Credentials, Egress], Session] = lambda credentials, egress: open_session(
            credentials.host, credentials.attributes, egress
        ),
    ) -> None:
        """:param clock: seconds, never going back. :param identities: how many are kept at most.

        :param open_session: signs in with the SDK; it blocks.
        """
        self._clock = clock
        self._identities = identities
        self._open_session = open_session
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._tasks: set[asyncio.Task[Signature]] = set()
        self._threads = Threads("databricks-auth", most=16)

    async def sign(self, credentials: Credentials, egress: Egress) -> Signature:
        """Headers that are good now.

        Near their end they are renewed in the background, and answered with meanwhile. Whoever comes while there are
        none waits for the one attempt that is under way.

        :raises ConnectorError: there are none, and the credentials did not get any.
        """
        now = self._clock()
        if credentials.token:
            headers = {"Authorization": f"Bearer {credentials.token}"}
            return Signature(headers, made_at=now, renew_at=float("inf"), ends_at=float("inf"))
        slot = self._slot(credentials.key)
        signature = slot.signature
        if signature is not None and now < signature.ends_at:
            if now >= signature.renew_at and now >= slot.pause_until and slot.signing is None:
                _ = self._start(slot, credentials, egress)
            return signature
        # shielded: a caller that gives up does not take the headers from those who wait with it
        return await asyncio.shield(slot.signing or self._start(slot, credentials, egress))

    def refused(self, credentials: Credentials, signature: Signature) -> bool:
        """Databricks did not accept ``signature``: sign in anew, unless that was just done. Whether that may help."""
        if credentials.token or self._clock() - signature.made_at < _YOUNG:
            return False
        slot = self._slots.get(credentials.key)
        if slot is not None and slot.signature is signature:
            slot.signature = slot.session = None
        return True

    async def aclose(self) -> None:
        """End what is under way. A thread that the SDK holds is left behind; it does not keep the process."""
        for task in tuple(self._tasks):
            _ = task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _slot(self, key: str) -> _Slot:
        slot = self._slots.setdefault(key, _Slot())
        self._slots.move_to_end(key)
        if len(self._slots) > self._identities:
            self._slots.popitem(last=False)
        return slot

    def _start(self, slot: _Slot, credentials: Credentials, egress: Egress) -> asyncio.Task[Signature]:
        def signed() -> tuple[Session, Mapping[str, str], float]:
            session = slot.session or self._open_session(credentials, egress)
            headers, lifetime = session.sign()
            return session, headers, lifetime

        async def sign() -> Signature:
            asked_at = self._clock()  # counting from here errs on the safe side
            try:
                async with asyncio.timeout(_TIMEOUT):
                    session, headers, lifetime = await self._threads.run(signed)
            except TimeoutError as error:
                raise Unavailable(f"no access to Databricks was granted within {_TIMEOUT:.0f} s") from error
            slot.session = session
            remember(headers.get("Authorization", "").rpartition(" ")[2])  # a gateway may repeat it in an error
            ends_at = asked_at + lifetime
            return Signature(
                headers, asked_at, renew_at=ends_at - min(SdkSession.RENEWS, lifetime / 2), ends_at=ends_at
            )

        def done(task: asyncio.Task[Signature]) -> None:
            self._tasks.discard(task)
            slot.signing = None
            if task.cancelled():
                return
            error = task.exception()
            if error is None:
                slot.signature = task.result()
            else:
                slot.pause_until = self._clock() + _PAUSE
                reason = error.message if isinstance(error, ConnectorError) else type(error).__name__
                _log.warning("no new access token for Databricks: %s", reason)

        task = asyncio.get_running_loop().create_task(sign(), name="databricks-auth")
        slot.signing = task
        self._tasks.add(task)
        task.add_done_callback(done)
        return task
