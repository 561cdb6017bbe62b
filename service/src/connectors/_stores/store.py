"""What the engine asks of a store. Every store keeps to this, and one suite of tests holds them all to it.

All methods are atomic, also across servers that share the store. Times are the store's own clock, so that servers whose
clocks differ agree on who holds a lease. A store that cannot be reached raises :class:`StoreUnavailable`; whether what
was asked for was carried out is then not known, and every method may be sent again.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Literal, NamedTuple

from connectors._stores.record import Attention, Record
from connectors.errors import ConnectorError, Unavailable

__all__ = ["Claim", "Payload", "Store", "StoreUnavailable", "StoreUnfit", "job_of"]

Payload = Literal["request", "result", "fresh", "given"]


class StoreUnavailable(Unavailable):
    """The idempotency store cannot be reached."""


class StoreUnfit(ConnectorError):
    """The idempotency store cannot be used as it is: it is another program's, is of a newer release, refuses the
    credentials, or may lose what it was told. Waiting does not help.
    """


def job_of(task_type: str, version: int, meta: bytes) -> str:
    """What a job is found by: a hash of its meta, 64 characters."""
    return hashlib.sha256(b"%s\0%d\0%s" % (task_type.encode(), version, meta)).hexdigest()


class Claim(NamedTuple):
    """The answer to :meth:`Store.reserve`: the key's record, and whether the caller now holds it.

    ``mine`` is True where the key was new, was UNKNOWN, or was RESERVED under a lease that ran out; ``looked_for`` then
    says that the platform may already hold a job under this key. ``over`` says that the run goes on under its next
    generation: the record's own plus one, or ``record.latest`` where that is higher.
    """

    record: Record
    mine: bool
    looked_for: bool = False
    over: bool = False
    waited: bool = False
    """Whether another owner held the key first; a store leaves that to who asks it again and again."""


class Store(ABC):
    """Idempotency records by key, and short-lived payloads beside them."""

    at_once: bool = False
    """Whether no method awaits anything: whoever calls one needs no bound on its time."""
    together: int = 16
    """How many operations may be asked for at once without those that come later having to wait for it."""

    @abstractmethod
    async def start(self) -> None:
        """Open the store; create its schema where there is none, and migrate an older one.

        :raises StoreUnfit: it cannot be used; the message says which store and why, with no password.
        :raises StoreUnavailable: it cannot be reached now; call this again later.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close it. Nothing else is called afterwards."""

    # --- a create

    @abstractmethod
    async def reserve(
        self,
        key: str,
        *,
        owner: str,
        lease: float,
        task_type: str,
        version: int = 0,
        run: str = "",
        generation: int = 0,
        fingerprint: str = "",
        subject: Mapping[str, str] | None = None,
        over_after: float | None = None,
    ) -> Claim:
        """Take the key for ``owner`` for ``lease`` seconds, unless it is DONE or another owner's lease runs.

        The same owner may reserve its own key again, which renews the lease. What describes the key is written when it
        is new, and not changed afterwards. ``subject`` makes it a job's record, which is watched and listed. Whoever
        asks again takes back that the job was reported, but for what a person said, and that its answer reached nobody.

        :param over_after: seconds after the delivery of a terminal phase, from which on the record is over, as it is
            once its job's deletion is wanted and when it is TAKEN. None: nothing makes it over but TAKEN.
        """

    @abstractmethod
    async def renew(self, key: str, *, owner: str, lease: float) -> bool:
        """Make the owner's lease end ``lease`` seconds from now. False where the key is no longer this owner's.

        A lease that ran out, and that no other owner has taken, is still this owner's: here and in the methods below.
        """

    @abstractmethod
    async def complete(self, key: str, *, owner: str, meta: bytes, fingerprint: str = "", adopts: str = "") -> bool:
        """RESERVED → DONE. False, and no change, where the key is no longer this owner's.

        Repeated with the same owner and meta it is True again. ``fingerprint`` is written where there is none yet.

        :param adopts: the key of the earlier attempt whose job this is: what ends this record's run ends that one's.
        """

    @abstractmethod
    async def mark_unknown(self, key: str, *, owner: str) -> bool:
        """RESERVED → UNKNOWN. False, and no change, where the key is no longer this owner's; repeated, True again."""

    @abstractmethod
    async def mark_taken(self, key: str, *, owner: str) -> bool:
        """RESERVED → TAKEN. False, and no change, where the key is no longer this owner's; repeated, True again."""

    @abstractmethod
    async def release(self, key: str, *, owner: str) -> bool:
        """Forget the key: there is proof that no job was made. False, and no change, where it is no longer this
        owner's.
        """

    @abstractmethod
    async def advance(self, run: str, generation: int) -> None:
        """Note on a run's first record that ``generation`` was begun; it also lives on as if it had changed."""

    @abstractmethod
    async def remember(self, record: Record) -> Record:
        """Write down a job that was made, or found, while the store was out of reach, or by somebody else: DONE, with
        the record's meta. A record that is DONE already stays as it is. Returns the one that stands.
        """

    # --- what becomes of a job

    @abstractmethod
    async def note(
        self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = ""
    ) -> Record | None:
        """Write down what was seen of a key's job: that its meta was delivered or reached nobody, that a poll came,
        that a poll delivered a terminal phase. What is known already is not written again, and nothing is taken back:
        a poll proves that the meta was delivered, and takes back that the job was reported, but for what a person said.
        """

    @abstractmethod
    async def want_deletion(
        self, key: str, *, reason: str, job: Record | None = None, still: Attention | None = None
    ) -> Record | None:
        """Remember that the job is to be cancelled, once it is made. Where it is already, or was, nothing changes; a
        deletion that was given up is begun again. For the earlier attempts that the job was taken over from it counts
        as cancelled.

        :param job: what is written where the key has no record: that of a job that this store never heard of.
        :param still: what the record must wait for at this instant, or nothing changes. Whoever asks reads in the
            answer whether it did.
        """

    @abstractmethod
    async def claim_deletion(self, key: str, *, hold: float) -> Record | None:
        """Take a deletion that is due, so that no other server tries it for ``hold`` seconds. None where it is not due,
        or not wanted (any more).
        """

    @abstractmethod
    async def note_deleted(self, key: str) -> None:
        """The job was cancelled, or is no more: also for the earlier attempts that it was taken over from."""

    @abstractmethod
    async def set_aside(self, key: str, *, reason: str, adopted_by: str = "", still: Attention | None = None) -> bool:
        """The record is not to be judged any more: it was reported, a person answers for it, its deletion was given up,
        or another attempt took the job over. False where there is no such record.

        :param still: what the record must wait for at this instant; else False, and no change.
        """

    @abstractmethod
    async def forget(self, key: str) -> bool:
        """Remove the record, whatever it says. False where there is none."""

    # --- reading

    @abstractmethod
    async def now(self) -> float:
        """The store's clock."""

    @abstractmethod
    async def find(self, key: str) -> Record | None:
        """The key's record."""

    @abstractmethod
    async def find_job(self, job: str) -> Record | None:
        """The record of a job: the one that was changed last, where there are several. See :func:`job_of`."""

    @abstractmethod
    async def waiting(self, attention: Attention, *, older_than: float, limit: int = 100) -> list[Record]:
        """Up to ``limit`` records that have waited for ``attention`` for ``older_than`` seconds or more, the longest
        first.
        """

    @abstractmethod
    def records(self) -> AsyncIterator[Record]:
        """Every tracked record, in no order; one that changes meanwhile may come twice."""

    # --- payloads

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
        """Forget records that have not changed for ``older_than`` seconds and whose lease, if any, has run out, the
        oldest first, and payloads that ran out: up to ``limit`` of both together. Returns how many were forgotten; call
        it again while that equals the limit.
        """
