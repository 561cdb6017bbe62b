"""Google's access tokens: what one is, who is asked for it, and how long all calls of an identity use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from connectors import HttpClient
from connectors.secrets import remember
from connectors.tokens import TokenCache

__all__ = ["Grant", "Identity", "token_cache", "token_of"]

_AHEAD = 225.0  # seconds before its end that a token is replaced; Google's metadata server has a new one from 300 s on


@dataclass(frozen=True)
class Grant:
    """A token, as the token endpoint gave it."""

    value: str = field(repr=False)
    lifetime: float
    """Seconds from when it was asked for."""
    quota_project: str | None = None
    """The project that pays for the API call, where it is not the credentials' own."""

    def headers(self) -> dict[str, str]:
        """What a request carries."""
        headers = {"Authorization": f"Bearer {self.value}"}
        if self.quota_project:
            headers["x-goog-user-project"] = self.quota_project
        return headers


class Identity(Protocol):
    """Credentials that can ask for a token."""

    @property
    def key(self) -> str:
        """The same for the same credentials. Not a secret."""

    async def fetch(self, http: HttpClient) -> Grant:
        """A new token.

        :raises ConnectorError: as it says.
        """


def token_cache(clock: Callable[[], float]) -> TokenCache[Grant]:
    """Tokens for the whole server. :param clock: seconds, never going back."""
    return TokenCache("BigQuery", ahead=_AHEAD, clock=clock)


async def token_of(identity: Identity, tokens: TokenCache[Grant], http: HttpClient) -> Grant:
    """A token that is good now.

    :raises ConnectorError: there is none, and the credentials did not get one.
    """

    async def fetch(_previous: Grant | None) -> tuple[Grant, float]:
        grant = await identity.fetch(http)
        remember(grant.value)  # an answer that repeats it is shown without it
        return grant, grant.lifetime

    return await tokens.get(identity.key, fetch)
