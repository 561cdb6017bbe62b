"""How a key's record changes: pure rules, written once for every store that can apply one atomically.

A rule is given the key's record, or None, and the time on the store's clock. It returns the record to keep (None: none;
the same object: no change) and the answer to the caller. A store brings the atomicity, the clock and the disk; it
decides nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from connectors._stores.record import BLANK, Attention, Deletion, Delivery, Record, State
from connectors._stores.store import Claim, Store, job_of

__all__ = ["CLAIMED", "POLL_GRAIN", "RecordStore", "Rule"]

T = TypeVar("T")
Rule = Callable[[Record | None, float], tuple[Record | None, T]]

CLAIMED = "a person answers for this job"
"""How the reason begins of a record that a person set aside."""
POLL_GRAIN = 1_800.0
"""Seconds: a poll is written down where the last one that was is as old, or there was none."""


def _reserved_by(record: Record, owner: str) -> bool:
    return record.state is State.RESERVED and record.owner == owner


def _ended(record: Record, now: float, over_after: float | None) -> bool:
    """Whether a create under this key is a new run of the same name."""
    if record.state is State.TAKEN:
        return True
    if over_after is None:
        return False
    terminal = bool(record.terminal) and record.terminal_at + over_after <= now
    return terminal or (record.deletion is not Deletion.NONE and record.state is State.DONE)


def _reserve(
    record: Record | None, now: float, *, new: Record, lease: float, over_after: float | None
) -> tuple[Record | None, Claim]:
    if record is None:
        made = new.but(lease_until=now + lease, created=now, changed=now)
        return made, Claim(made, mine=True)
    if _ended(record, now, over_after):
        # the first record of a run must outlive what came after it: it says which generation that is
        touched = record.but(changed=now)
        return touched, Claim(touched, mine=False, over=True)
    held = record.state is State.RESERVED and record.lease_until > now and record.owner != new.owner
    if record.state is State.DONE:
        # it is about to be answered again: that nobody had it is not certain any more
        again = _asked_again(record, now)
        return again, Claim(again, mine=False)
    if held:
        return record, Claim(record, mine=False)
    taken = record.but(state=State.RESERVED, owner=new.owner, lease_until=now + lease, changed=now)
    if record.deletion is Deletion.DONE:  # it was of what the key had then
        why = record.reason if record.set_aside else ""
        taken = taken.but(deletion=Deletion.NONE, delete_tries=0, reason=why)
    taken = _watched_again(taken)
    return taken, Claim(taken, mine=True, looked_for=True)


def _asked_again(record: Record, now: float) -> Record:
    if record.delivery is not Delivery.LOST or record.asked_at:
        return record
    return _watched_again(record).but(delivery=Delivery.NOT_KNOWN, changed=now)


def _watched_again(record: Record) -> Record:
    """Whoever asks for a job takes back that it was reported; what a person said of it stands."""
    is_reported = record.set_aside and not record.adopted_by and record.deletion is Deletion.NONE
    if not is_reported or record.reason.startswith(CLAIMED):
        return record
    return record.but(set_aside=False, reason="")


def _renew(record: Record | None, now: float, *, owner: str, lease: float) -> tuple[Record | None, bool]:
    if record is None or not _reserved_by(record, owner):
        return record, False
    return record.but(lease_until=now + lease, changed=now), True


def _complete(
    record: Record | None, now: float, *, owner: str, meta: bytes, fingerprint: str, adopts: str
) -> tuple[Record | None, bool]:
    if record is None:
        return None, False
    if not _reserved_by(record, owner):
        return record, (record.state, record.owner, record.meta) == (State.DONE, owner, meta)
    return _done(record, now, meta, fingerprint, adopts=adopts), True


def _done(record: Record, now: float, meta: bytes, fingerprint: str, *, adopts: str) -> Record:
    claimed = record.set_aside and record.reason.startswith(CLAIMED)
    if record.deletion is Deletion.WANTED and not claimed:  # asked for while there was nothing to cancel yet
        record = record.but(delete_at=now, set_aside=False)
    return record.but(
        state=State.DONE,
        lease_until=0.0,
        meta=meta,
        job=job_of(record.task_type, record.version, meta) if record.tracked else "",
        fingerprint=record.fingerprint or fingerprint,
        done_at=now,
        changed=now,
        adopts=adopts,
    )


def _end(record: Record | None, now: float, *, owner: str, state: State) -> tuple[Record | None, bool]:
    if record is None:
        return None, False
    if not _reserved_by(record, owner):
        return record, (record.state, record.owner) == (state, owner)
    return record.but(state=state, lease_until=0.0, changed=now), True


def _release(record: Record | None, now: float, *, owner: str) -> tuple[Record | None, bool]:
    if record is None or not _reserved_by(record, owner):
        return record, False
    return None, True


def _advance(record: Record | None, now: float, *, generation: int) -> tuple[Record | None, None]:
    if record is None:
        return None, None
    return record.but(latest=max(record.latest, generation), changed=now), None


def _remember(record: Record | None, now: float, *, made: Record) -> tuple[Record | None, Record]:
    if record is not None and (record.state in {State.DONE, State.TAKEN}):
        return record, record
    done = _done(record or _new(made, now), now, made.meta or b"", made.fingerprint, adopts=made.adopts)
    return done, done


def _new(made: Record, now: float) -> Record:
    return made.but(run=made.run or made.key, created=now)


def _note(
    record: Record | None, now: float, *, delivered: bool | None, polled: bool, terminal: str
) -> tuple[Record | None, tuple[Record | None, bool]]:
    if record is None:
        return None, (None, False)
    after = record
    if delivered is False and record.delivery is Delivery.NOT_KNOWN and not polled:
        after = after.but(delivery=Delivery.LOST)
    if (delivered or polled) and record.delivery is not Delivery.DELIVERED:
        after = after.but(delivery=Delivery.DELIVERED)
    if polled and (not record.asked_at or now - record.polled_at >= POLL_GRAIN):
        after = _watched_again(after).but(polled_at=now, asked_at=record.asked_at or now)
    if terminal and not record.terminal:
        after = after.but(terminal=terminal, terminal_at=now)
    if after is not record:
        after = after.but(changed=now)
    return after, (after, after is not record)


def _want_deletion(
    record: Record | None, now: float, *, reason: str, job: Record | None, still: Attention | None
) -> tuple[Record | None, Record | None]:
    if record is None:
        if job is None or still is not None:
            return None, None
        record = _done(_new(job, now).but(tracked=True), now, job.meta or b"", "", adopts=job.adopts)
        record = record.but(job=job.job or record.job)
    given_up = record.deletion is Deletion.WANTED and record.set_aside
    if (record.deletion is not Deletion.NONE and not given_up) or (
        still is not None and record.attention() is not still
    ):
        return record, record
    wanted = record.but(
        deletion=Deletion.WANTED,
        delete_at=now,
        delete_tries=0,
        reason=reason,
        set_aside=False,
        changed=now,
    )
    return wanted, wanted


def _claim_deletion(record: Record | None, now: float, *, hold: float) -> tuple[Record | None, Record | None]:
    if record is None or record.attention() is not Attention.DELETE or record.delete_at > now:
        return record, None
    held = record.but(delete_at=now + hold, delete_tries=record.delete_tries + 1, changed=now)
    return held, held


def _note_deleted(record: Record | None, now: float) -> tuple[Record | None, str]:
    """Answers which attempt's job it was at first."""
    if record is None or record.deletion is Deletion.DONE:
        return record, record.adopts if record else ""
    return record.but(deletion=Deletion.DONE, delete_at=0.0, changed=now), record.adopts


def _set_aside(
    record: Record | None, now: float, *, reason: str, adopted_by: str, still: Attention | None
) -> tuple[Record | None, bool]:
    if record is None or (still is not None and record.attention() is not still):
        return record, False
    adopted_by = adopted_by or record.adopted_by
    return record.but(set_aside=True, reason=reason, adopted_by=adopted_by, changed=now), True


def _forget(record: Record | None, now: float) -> tuple[Record | None, bool]:
    return None, record is not None


class RecordStore(Store):
    """A store whose records change by the rules above."""

    @abstractmethod
    async def _change(self, key: str, rule: Rule[T], *, synced: bool = True) -> T:
        """Apply the rule to the key's record in one atomic step; its answer.

        The rule may be applied more than once, where a step has to be repeated.

        :param synced: whether a power cut must not undo it, from the answer on. Where it may, it is as durable as soon
            as any later change is.
        :raises StoreUnavailable: whether the record changed is not known.
        """

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
        new = BLANK.but(
            key=key,
            task_type=task_type,
            fingerprint=fingerprint,
            version=version,
            run=run or key,
            generation=generation,
            owner=owner,
            tracked=subject is not None,
            subject=subject or {},
        )
        return await self._change(key, partial(_reserve, new=new, lease=lease, over_after=over_after))

    async def renew(self, key: str, *, owner: str, lease: float) -> bool:
        return await self._change(key, partial(_renew, owner=owner, lease=lease))

    async def complete(self, key: str, *, owner: str, meta: bytes, fingerprint: str = "", adopts: str = "") -> bool:
        rule = partial(_complete, owner=owner, meta=meta, fingerprint=fingerprint, adopts=adopts)
        # The sync would double what a create costs. A power cut before the next change leaves the key RESERVED by a
        # server that is gone, as one before this change would: the repeat looks for the job.
        return await self._change(key, rule, synced=False)

    async def mark_unknown(self, key: str, *, owner: str) -> bool:
        return await self._change(key, partial(_end, owner=owner, state=State.UNKNOWN))

    async def mark_taken(self, key: str, *, owner: str) -> bool:
        return await self._change(key, partial(_end, owner=owner, state=State.TAKEN))

    async def release(self, key: str, *, owner: str) -> bool:
        return await self._change(key, partial(_release, owner=owner))

    async def advance(self, run: str, generation: int) -> None:
        await self._change(run, partial(_advance, generation=generation))

    async def remember(self, record: Record) -> Record:
        return await self._change(record.key, partial(_remember, made=record))

    async def note(
        self, key: str, *, delivered: bool | None = None, polled: bool = False, terminal: str = ""
    ) -> Record | None:
        rule = partial(_note, delivered=delivered, polled=polled, terminal=terminal)
        record, changed = await self._change(key, rule)
        if changed and record is not None and record.generation:
            await self.advance(record.run, record.generation)  # a run's first record outlives its later ones
        if changed and record is not None and record.adopts and terminal:
            await self.note(record.adopts, terminal=terminal)
        return record

    async def want_deletion(
        self, key: str, *, reason: str, job: Record | None = None, still: Attention | None = None
    ) -> Record | None:
        record = await self._change(key, partial(_want_deletion, reason=reason, job=job, still=still))
        if record is not None and record.adopts and record.deletion is not Deletion.NONE:
            await self.note_deleted(record.adopts)  # the job is this record's to cancel
        return record

    async def claim_deletion(self, key: str, *, hold: float) -> Record | None:
        return await self._change(key, partial(_claim_deletion, hold=hold))

    async def note_deleted(self, key: str) -> None:
        noted = {""}
        while key not in noted:  # attempt by attempt, back to the one that made the job
            noted.add(key)
            key = await self._change(key, _note_deleted)

    async def set_aside(self, key: str, *, reason: str, adopted_by: str = "", still: Attention | None = None) -> bool:
        return await self._change(key, partial(_set_aside, reason=reason, adopted_by=adopted_by, still=still))

    async def forget(self, key: str) -> bool:
        return await self._change(key, _forget)
