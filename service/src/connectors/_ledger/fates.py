"""What has become of a job: one word for each record."""

from __future__ import annotations

import enum

from connectors._engine.options import EngineOptions
from connectors._stores import Deletion, Delivery, Record, State
from connectors._stores.rules import CLAIMED

__all__ = ["CLAIMED", "MAY_RUN", "Fate", "fate_of", "is_orphan"]


class Fate(enum.Enum):
    """In the order in which :func:`fate_of` asks: the first that is true of a record is its fate."""

    CANCELLING = "cancelling"
    """It is to be cancelled, and a server tries until it is."""
    ADOPTED = "adopted"
    """A later attempt took the job over: its own record tells how it goes on."""
    GIVEN_UP = "given-up"
    """It was to be cancelled, and no server tries any more: the reason says what stood in the way."""
    CANCELLED = "cancelled"
    """It was cancelled, or was gone when it was to be; and no poll has told of another end."""
    SUCCEEDED = "succeeded"
    """This and the next three: a poll delivered that phase to the caller."""
    FAILED = "failed"
    RETRYABLE_FAILED = "retryable-failed"
    ABORTED = "aborted"
    ENDED = "ended"
    """A poll delivered a terminal phase that this release does not know."""
    TAKEN = "taken"
    """No job was made: the platform held another one under this key, and the run went on under its next generation."""
    SET_ASIDE = "set-aside"
    """A person answers for it: it is never judged again."""
    CREATING = "creating"
    """A server is at work on its create."""
    UNKNOWN = "unknown"
    """A create ended, or its server died, without proof that it made a job, or made none."""
    UNHEARD = "unheard"
    """The job was made, the answer reached nobody, and no poll came."""
    UNPOLLED = "unpolled"
    """No poll came for ``unpolled_after`` seconds."""
    RUNNING = "running"
    """It goes on, for all that is known."""


_BY_PHASE = {
    "SUCCEEDED": Fate.SUCCEEDED,
    "FAILED": Fate.FAILED,
    "RETRYABLE_FAILED": Fate.RETRYABLE_FAILED,
    "ABORTED": Fate.ABORTED,
}
MAY_RUN = frozenset(
    {
        Fate.CANCELLING,
        Fate.GIVEN_UP,
        Fate.SET_ASIDE,
        Fate.CREATING,
        Fate.UNKNOWN,
        Fate.UNHEARD,
        Fate.UNPOLLED,
        Fate.RUNNING,
    }
)
"""The fates of jobs that the platform may still be running."""


def fate_of(record: Record, now: float, options: EngineOptions) -> Fate:
    """The fate of a record's job. Every record has exactly one.

    :param now: on the store's clock.
    """
    is_claimed = record.set_aside and record.reason.startswith(CLAIMED)
    if record.deletion is Deletion.WANTED and not record.set_aside:
        return Fate.CANCELLING
    if record.adopted_by:
        return Fate.ADOPTED
    if record.deletion is Deletion.WANTED and not is_claimed:
        return Fate.GIVEN_UP
    if record.deletion is Deletion.DONE and record.terminal in {"", "ABORTED"}:  # polls of a cancelled job say ABORTED
        return Fate.CANCELLED
    if record.terminal:
        return _BY_PHASE.get(record.terminal, Fate.ENDED)
    if record.state is State.TAKEN:
        return Fate.TAKEN
    if is_claimed:
        return Fate.SET_ASIDE
    if record.state is State.RESERVED and record.lease_until > now:
        return Fate.CREATING
    if record.state is not State.DONE:
        return Fate.UNKNOWN
    if record.delivery is Delivery.LOST and not record.asked_at:
        return Fate.UNHEARD
    return Fate.UNPOLLED if now - _heard_of(record) >= options.unpolled_after else Fate.RUNNING


def is_orphan(record: Record, now: float, options: EngineOptions) -> bool:
    """Whether the job may be running with nobody left to ask for it, or to cancel it.

    :param now: on the store's clock.
    """
    match fate_of(record, now, options):
        case Fate.UNPOLLED | Fate.GIVEN_UP:
            return True
        case Fate.UNHEARD:
            return now - record.done_at >= options.orphan_after
        case Fate.UNKNOWN:
            return now - record.changed >= options.orphan_after
        case _:
            return False


def _heard_of(record: Record) -> float:
    return max(record.polled_at, record.done_at)
