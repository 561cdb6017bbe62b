"""What the engine asks of a store. Every store keeps to this, and one suite of tests holds them all to it.

All methods are atomic, also across servers that share the store. Times are the store's own clock, so that servers whose
clocks differ agree on who holds a lease. A store that cannot be reached raises :class:`StoreUnavailable`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from connectors.errors import Unavailable

__all__ = ["Claim", "Payload", "Record", "State", "Store", "StoreUnavailable"]

Payload = Literal["request", "result"]


class StoreUnavailable(Unavailable):
    """The idempotency store cannot be reached."""


class State(enum.Enum):
    """How far a key's create has come."""

    RESERVED = "reserved"
    """An owner is at work under a lease."""
    UNKNOWN = "unknown"
    """A create ended without proof that it made, or did not make, a job."""
    DONE = "done"
    """The job exists; its meta is known."""


@dataclass(frozen=True)
class Record:
    """What the store knows of a key."""

    key: str
    task_type: str
    state: State
    fingerprint: str = ""
    """Of the request that reserved the key; "" where none was taken."""
    meta: bytes | None = None
    """The resource meta, once DONE."""


@dataclass(frozen=True)
class Claim:
    """The answer to :meth:`Store.reserve`: the key's record, and whether the caller now holds it.

    ``mine`` is True where the key was new, was UNKNOWN, or was RESERVED under a lease that ran out; ``looked_for`` then
    says that the platform may already hold a job under this key.
    """

    record: Record
    mine: bool
    looked_for: bool = False


class Store(ABC):
    """Idempotency records by key, and short-lived payloads beside them."""

    @abstractmethod
    async def start(self) -> None:
        """Open the store; create its schema where there is none.

        :raises StoreUnavailable: it cannot be opened; the message says which store and why.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close it. Nothing else is called afterwards."""

    @abstractmethod
    async def reserve(self, key: str, *, owner: str, lease: float, task_type: str, fingerprint: str = "") -> Claim:
        """Take the key for ``owner`` for ``lease`` seconds, unless it is DONE or another owner's lease runs.

        The same owner may reserve its own key again, which renews the lease. ``task_type`` and ``fingerprint`` are
        written when the key is new, and not changed afterwards.
        """

    @abstractmethod
    async def renew(self, key: str, *, owner: str, lease: float) -> bool:
        """Make the owner's lease end ``lease`` seconds from now. False where the key is no longer this owner's.

        A lease that ran out, and that no other owner has taken, is still this owner's: here and in the methods below.
        """

    @abstractmethod
    async def complete(self, key: str, *, owner: str, meta: bytes) -> bool:
        """RESERVED → DONE. False, and no change, where the key is no longer this owner's.

        Repeated with the same owner and meta it is True again, so it may be sent anew after :class:`StoreUnavailable`.
        """

    @abstractmethod
    async def mark_unknown(self, key: str, *, owner: str) -> bool:
        """RESERVED → UNKNOWN. False, and no change, where the key is no longer this owner's; repeated, True again."""

    @abstractmethod
    async def release(self, key: str, *, owner: str) -> bool:
        """Forget the key: there is proof that no job was made. False, and no change, where it is no longer this
        owner's.
        """

    @abstractmethod
    async def find(self, key: str) -> Record | None:
        """The key's record."""

    @abstractmethod
    async def save(self, key: str, kind: Payload, data: bytes, *, ttl: float) -> None:
        """Keep a payload under a key for ``ttl`` seconds, in place of an earlier one of that kind."""

    async def drop(self, key: str, kind: Payload) -> None:
        """Forget a payload, where there is one."""
        await self.save(key, kind, b"", ttl=0)

    @abstractmethod
    async def load(self, key: str, kind: Payload) -> bytes | None:
        """A payload that has not run out."""

    @abstractmethod
    async def expire(self, *, older_than: float, limit: int = 1_000) -> int:
        """Forget up to ``limit`` records that have not changed for ``older_than`` seconds and whose lease, if any, has
        run out, and as many payloads that ran out. Returns how many were forgotten; call it again while that equals the
        limit.
        """
