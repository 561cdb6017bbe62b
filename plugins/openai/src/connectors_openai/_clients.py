"""The SDK's clients: one per identity, over one pool of connections, made when the first call needs them.

The SDK takes a second and tens of megabytes to load: that happens in a thread, once.
"""

from __future__ import annotations

import asyncio
import importlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors import FailedPrecondition, PermissionDenied, Secrets
from connectors.http import Egress

if TYPE_CHECKING:
    from types import ModuleType

    from openai import AsyncOpenAI

    from connectors_openai._sdk import Pool

__all__ = ["SECRET_NAMES", "Clients", "Identity", "api_key"]

SECRET_NAMES = ("FLYTE_OPENAI_API_KEY", "openai_api_key")
"""Where the API key is looked for, in this order: the name that Flyte 1's connector reads, then OpenAI's own."""

_MOST_CLIENTS = 64
_LONGEST_KEY = 4_096  # characters
_CONNECT_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Identity:
    """Who calls."""

    api_key: str = field(repr=False)
    organization: str
    """"" leaves it to the key."""
    project: str
    """"" leaves it to the key."""


async def api_key(secrets: Secrets, *, reference: str = "") -> tuple[str, str]:
    """The API key, and the reference that finds it again.

    :param reference: of an earlier look-up, which a meta kept.
    :raises FailedPrecondition: there is none, and the message tells where each name was looked for; or what there is
        can be no key.
    :raises ConnectorError: the key may not be read, or a source of secrets cannot say.
    """
    missing: list[str] = []
    denied: PermissionDenied | None = None
    for name in SECRET_NAMES:
        try:
            found = await secrets.look_up(name, reference=reference)
        except FailedPrecondition as error:
            missing.append(error.message)
            continue
        except PermissionDenied as error:  # the reference is the other name's
            denied = denied or error
            continue
        key = found.value.strip()
        if not (key and len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable() and " " not in key):
            raise FailedPrecondition(f"the secret {name!r} can be no API key: empty, too long, or no plain ASCII")
        return key, found.reference
    if denied is not None and not missing:
        raise denied
    raise FailedPrecondition(f"there is no OpenAI API key: {'; '.join(missing)}")


class Clients:
    """Those of one connector."""

    def __init__(self, *, base_url: str, connections: int, connect_timeout: float = _CONNECT_TIMEOUT) -> None:
        """:param base_url: without a slash at its end. :param connections: at once. :param connect_timeout: seconds."""
        self.base_url = base_url
        self._connections = connections
        self._connect_timeout = connect_timeout
        self._opening = asyncio.Lock()
        self._pool: Pool | None = None
        self._clients: OrderedDict[Identity, AsyncOpenAI] = OrderedDict()

    async def get(self, identity: Identity, egress: Egress) -> AsyncOpenAI:
        """The client of an identity. The 64 that were used last are kept.

        :param egress: how its requests leave; that of the first call is in force.
        :raises FailedPrecondition: the operator's proxy or certificates cannot be used.
        """
        pool = self._pool
        if pool is None:
            async with self._opening:
                pool = self._pool
                if pool is None:
                    pool = self._pool = await asyncio.to_thread(self._open, egress)
        client = self._clients.get(identity)
        if client is None:
            client = self._clients[identity] = pool.client(identity.api_key, identity.organization, identity.project)
            if len(self._clients) > _MOST_CLIENTS:
                self._clients.popitem(last=False)  # its connections are the pool's
        else:
            self._clients.move_to_end(identity)
        return client

    def _open(self, egress: Egress) -> Pool:
        pool: Pool = sdk().Pool(
            self.base_url, connections=self._connections, connect_timeout=self._connect_timeout, egress=egress
        )
        return pool

    async def aclose(self) -> None:
        """Close the connections."""
        pool, self._pool = self._pool, None
        self._clients.clear()
        if pool is not None:
            await pool.aclose()


def sdk() -> ModuleType:
    """The one module that imports the SDK."""
    return importlib.import_module("connectors_openai._sdk")
