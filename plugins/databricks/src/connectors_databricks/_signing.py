"""What makes a request a caller's: one set of headers per identity for the whole server, renewed ahead of its end.

A token needs nothing more. Every other way to sign in is the Databricks SDK's own
(https://docs.databricks.com/dev-tools/auth/unified-auth): it blocks, so it runs in threads, and it is loaded when it is
first needed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

from connectors.http import Egress
from connectors.secrets import remember
from connectors.tokens import TokenCache
from connectors_databricks._sdk import SdkSession, open_session
from connectors_databricks._threads import Threads

__all__ = ["Credentials", "Signature", "Signer"]


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


class Session(Protocol):
    """One identity, signed in."""

    def sign(self) -> tuple[Mapping[str, str], float]:
        """The headers, and for how many seconds they are good. It blocks.

        :raises ConnectorError: the credentials were refused, or nobody could be asked.
        """


@dataclass(frozen=True)
class Signature:
    """Headers that sign a request."""

    headers: Mapping[str, str] = field(repr=False)
    session: Session | None = field(default=None, repr=False)
    """What signed, and signs again; None where a token did."""


class Signer:
    """Headers by identity."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        open_session: Callable[[Credentials, Egress], Session] = lambda credentials, egress: open_session(
            credentials.host, credentials.attributes, egress
        ),
    ) -> None:
        """:param clock: seconds, never going back. :param open_session: signs in with the SDK; it blocks."""
        self._open_session = open_session
        self._signatures = TokenCache[Signature]("Databricks", ahead=SdkSession.RENEWS, clock=clock)
        self._threads = Threads("databricks-auth", most=16)

    async def sign(self, credentials: Credentials, egress: Egress) -> Signature:
        """Headers that are good now.

        :raises ConnectorError: there are none, and the credentials did not get any.
        """
        if credentials.token:
            return Signature({"Authorization": f"Bearer {credentials.token}"})
        return await self._signatures.get(credentials.key, partial(self._sign, credentials, egress))

    def refused(self, credentials: Credentials, signature: Signature) -> bool:
        """Databricks did not accept ``signature``: sign in anew, unless that was just done. Whether that may help."""
        return not credentials.token and self._signatures.refused(credentials.key, signature)

    async def aclose(self) -> None:
        """End what is under way. A thread that the SDK holds is left behind; it does not keep the process."""
        await self._signatures.aclose()

    async def _sign(
        self, credentials: Credentials, egress: Egress, previous: Signature | None
    ) -> tuple[Signature, float]:
        def signed() -> tuple[Signature, float]:
            session = previous.session if previous is not None else None
            if session is None:
                session = self._open_session(credentials, egress)
            headers, lifetime = session.sign()
            return Signature(headers, session), lifetime

        signature, lifetime = await self._threads.run(signed)
        remember(signature.headers.get("Authorization", "").rpartition(" ")[2])  # a gateway may repeat it in an error
        return signature, lifetime
