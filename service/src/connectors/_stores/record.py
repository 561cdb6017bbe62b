"""What a store knows of a key, and how that is written down: one JSON object, the same in every store.

A store keeps the object as it is, beside the few values that it looks records up by (:meth:`Record.indexed`). Members
that this release does not know are kept, so that two releases may share a store while one replaces the other.
"""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["BLANK", "Attention", "Deletion", "Delivery", "Indexed", "Record", "State", "decode_record", "encode_record"]


class _Enum(enum.Enum):
    """Looked up by every change of a record: enum's own hash is written in Python."""

    __hash__ = object.__hash__


class State(_Enum):
    """How far a key's create has come."""

    RESERVED = "reserved"
    """An owner is at work under a lease."""
    UNKNOWN = "unknown"
    """A create ended without proof that it made, or did not make, a job."""
    DONE = "done"
    """The job exists; its meta is known."""
    TAKEN = "taken"
    """The platform holds another job under this key: the run has to go on under its next generation."""


class Delivery(_Enum):
    """What is known of the answer that holds the meta."""

    NOT_KNOWN = ""
    LOST = "lost"
    """It reached nobody: all its callers were gone before it could leave. Known since the last change."""
    DELIVERED = "delivered"
    """It left while its caller was there, or the caller has used it since."""


class Deletion(_Enum):
    """Whether the job is to be cancelled, or was."""

    NONE = ""
    WANTED = "wanted"
    DONE = "done"


class Attention(_Enum):
    """What a record waits for: a store finds records by it."""

    NONE = ""
    UNKNOWN = "unknown"
    """Nobody repeats a create whose outcome is not known; since the last change."""
    LOST = "lost"
    """The answer reached nobody, and no poll came; since the last change."""
    IDLE = "idle"
    """The job goes on, for all that is known; since its last poll, or since it was made."""
    DELETE = "delete"
    """The job has to be cancelled; since the instant when that may be tried next, which may lie ahead."""


class Indexed(NamedTuple):
    """What a store looks a record up by."""

    job: str
    """"" where this record is not the one that the job's meta leads to."""
    attention: Attention
    since: float
    changed: float


@dataclass(frozen=True)  # no slots: a copy takes the dictionary whole, in a twentieth of the time
class Record:
    """One key. Times are seconds on the store's clock; 0 where it did not happen."""

    key: str
    task_type: str
    state: State = State.RESERVED
    fingerprint: str = ""
    """Of the request; "" where none was taken."""
    meta: bytes | None = None
    """The resource meta, once DONE."""
    version: int = 0
    """The task type's."""
    run: str = ""
    """The key of generation 0 of the same run."""
    generation: int = 0
    latest: int = 0
    """On generation 0's record: the highest generation that was begun."""
    owner: str = ""
    """Who reserved the key last; kept afterwards, so that a repeated answer is recognised."""
    lease_until: float = 0.0
    """0 unless RESERVED."""
    tracked: bool = False
    """Whether this is a job's record, to be watched and listed; False for a key that is only a lock."""
    subject: Mapping[str, str] = field(default_factory=dict)
    """Whose job it is, in the ledger's words: project, domain, execution, node, output_prefix, protocol …"""
    job: str = ""
    """What the job's meta leads to: see :func:`connectors._stores.job_of`."""
    created: float = 0.0
    changed: float = 0.0
    done_at: float = 0.0
    delivery: Delivery = Delivery.NOT_KNOWN
    asked_at: float = 0.0
    """When the first poll came."""
    polled_at: float = 0.0
    """When the last poll came, to the half hour."""
    terminal: str = ""
    """The terminal phase that a poll delivered, by its name."""
    terminal_at: float = 0.0
    deletion: Deletion = Deletion.NONE
    delete_at: float = 0.0
    """While a deletion is WANTED: when it may be tried next."""
    delete_tries: int = 0
    reason: str = ""
    """Why the job was, or is to be, cancelled; or why it is left alone."""
    adopted_by: str = ""
    """The key of the attempt that took this job over."""
    adopts: str = ""
    """The key of the attempt whose job this one took over."""
    set_aside: bool = False
    """Reported, or claimed by a person: never judged again. A deletion that is WANTED was given up."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Members that a newer release wrote."""

    def but(self, **changes: Any) -> Record:
        """A copy with other values. As :func:`dataclasses.replace`, which takes each attribute in turn."""
        copy = object.__new__(Record)
        copy.__dict__.update(self.__dict__, **changes)
        return copy

    def attention(self) -> Attention:
        """What it waits for; NONE where it is only remembered."""
        if self.deletion is not Deletion.NONE:
            if self.deletion is Deletion.WANTED and self.state is State.DONE:  # before that, there is nothing to cancel
                return Attention.NONE if self.set_aside else Attention.DELETE
            if self.deletion is Deletion.DONE:
                return Attention.NONE
        if not self.tracked or self.set_aside or self.adopted_by or self.terminal:
            return Attention.NONE
        if self.state is State.DONE:
            lost = self.delivery is Delivery.LOST and not self.asked_at
            return Attention.LOST if lost else Attention.IDLE
        return Attention.NONE if self.state is State.TAKEN else Attention.UNKNOWN

    def indexed(self) -> Indexed:
        """What a store looks it up by."""
        attention = self.attention()
        if attention is Attention.IDLE:
            since = max(self.polled_at, self.done_at)
        else:
            since = self.delete_at if attention is Attention.DELETE else self.changed
        return Indexed("" if self.adopted_by else self.job, attention, since, self.changed)


def _blank() -> Record:
    """A record without a key, to make others from by :meth:`Record.but`."""
    blank = Record("", "")
    # a dictionary of its own, sized to fit: copies of it take half the memory of one that Python made, in half the time
    object.__setattr__(blank, "__dict__", {**blank.__dict__})
    return blank


BLANK = _blank()
_DEFAULTS = {name: value for name, value in BLANK.__dict__.items() if name not in {"key", "task_type", "more"}}
_ENUMS = frozenset(name for name, value in _DEFAULTS.items() if isinstance(value, enum.Enum))
_NAMES = frozenset({"key", "task_type", *_DEFAULTS})
_ENCODE: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode


def encode_record(record: Record) -> str:
    """As JSON; what equals its default is left out."""
    # every create and every change writes records: no member is looked at more closely than it has to be
    changed = {name: value for name, value in record.__dict__.items() if value != _DEFAULTS.get(name, ...)}
    written: dict[str, Any] = {**changed.pop("more"), **changed}
    for name in _ENUMS & written.keys():
        written[name] = written[name].value
    if record.meta is not None:
        written["meta"] = base64.b64encode(record.meta).decode()
    if record.subject:
        written["subject"] = dict(record.subject)
    return _ENCODE(written)


def decode_record(text: str | bytes) -> Record:
    """What :func:`encode_record` wrote, also in another release.

    :raises ValueError: it is no such text.
    """
    try:
        values = json.loads(text)
        known = {name: _decode_member(name, values.pop(name)) for name in [*values] if name in _NAMES}
        if "key" not in known or "task_type" not in known:
            raise ValueError("a record in the store is not one: it has no key, or no task type")
        return BLANK.but(**known, more=values)
    except (TypeError, AttributeError, OverflowError, RecursionError) as error:  # JSON of another shape
        raise ValueError("a record in the store is not one") from error


def _decode_member(name: str, value: Any) -> Any:
    default = _DEFAULTS.get(name, "")
    kind = type(default)
    if type(value) is kind and kind is not dict:  # most are
        return value
    if isinstance(default, enum.Enum):
        return kind(value)
    if name == "meta":
        return base64.b64decode(value, validate=True)
    if kind is float and type(value) is int:
        return float(value)
    if name == "subject" and type(value) is dict and all(isinstance(word, str) for word in value.values()):
        return value
    raise ValueError(f"a record in the store is not one: {name} is of another type")
