"""A record as the ledger shows it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from connectors._engine.options import EngineOptions
from connectors._ledger.fates import Fate, fate_of, is_orphan
from connectors._stores import Record

__all__ = ["Entry", "Event", "age_text", "instant_text"]

_OWNER = ("org", "project", "domain", "execution", "node")
_UNITS = ((86_400, "d", 2), (3_600, "h", 2), (60, "m", 2), (1, "s", 0))
"""Seconds, their name, and from how many of them on they are used."""


class Event(NamedTuple):
    """One thing that happened to a job."""

    at: float
    """Seconds since 1970, on the store's clock."""
    name: str
    """Of a short list: ``created``, ``made``, ``first_poll``, ``last_poll``, ``terminal``, ``changed``."""
    text: str


@dataclass(frozen=True)
class Entry:
    """A record, seen at an instant."""

    record: Record
    now: float
    """On the store's clock."""
    options: EngineOptions

    @property
    def fate(self) -> Fate:
        """What has become of the job."""
        return fate_of(self.record, self.now, self.options)

    @property
    def is_orphan(self) -> bool:
        """Whether the job may be running with nobody left to ask for it."""
        return is_orphan(self.record, self.now, self.options)

    @property
    def owner(self) -> str:
        """Organization, project, domain, execution and node, as far as they are known, with ``/`` between them."""
        subject = self.record.subject
        return "/".join(subject[name] for name in _OWNER if subject.get(name))

    @property
    def attempt(self) -> str:
        """The last segment of the output prefix; the retry where there is no prefix."""
        subject = self.record.subject
        return subject.get("output_prefix", "").rstrip("/").rpartition("/")[2] or subject.get("retry", "")

    def age_of(self, instant: float) -> float:
        """Seconds since then; below 0 where it lies ahead."""
        return self.now - instant

    def history(self) -> list[Event]:
        """What is known to have happened, the earliest first."""
        record = self.record
        found = [
            Event(record.created, "created", "the create began"),
            Event(record.done_at, "made", "the job was made"),
            Event(record.asked_at, "first_poll", "the first poll came"),
            Event(record.terminal_at, "terminal", f"a poll delivered {record.terminal}"),
            Event(record.changed, "changed", "the record changed last"),
        ]
        if record.polled_at > record.asked_at:
            found.append(Event(record.polled_at, "last_poll", "the last poll came, to half an hour"))
        return sorted((event for event in found if event.at), key=lambda event: event.at)

    def meta(self) -> Any:
        """The resource meta, where it is JSON. None where there is none, or it is not."""
        try:
            return json.loads(self.record.meta or b"null", parse_constant=_refuse)
        except (ValueError, RecursionError):
            return None

    def as_json(self) -> dict[str, Any]:
        """What ``connectors jobs show --json`` prints. Members may be added, and are not taken away."""
        record, meta = self.record, self.meta()
        is_wanted = self.fate is Fate.CANCELLING
        return {
            "key": record.key,
            "task_type": record.task_type,
            "task_type_version": record.version,
            "fate": self.fate.value,
            "orphan": self.is_orphan,
            "owner": dict(record.subject),
            "attempt": self.attempt,
            "run": record.run,
            "generation": record.generation,
            "latest_generation": max(record.latest, record.generation),
            "state": record.state.value,
            "delivery": record.delivery.value or "unknown",
            "lease": {"server": record.owner, "until": instant_text(record.lease_until)}
            if record.lease_until
            else None,
            "deletion": record.deletion.value or "none",
            "deletion_tries": record.delete_tries,
            "next_deletion": instant_text(record.delete_at) if is_wanted else None,
            "terminal_phase": record.terminal or None,
            "reason": record.reason or None,
            "adopted_by": record.adopted_by or None,
            "set_aside": record.set_aside,
            "age_seconds": round(self.age_of(record.created)),
            "history": [{"at": instant_text(event.at), "event": event.name} for event in self.history()],
            "meta": meta,
            "meta_base64": base64.b64encode(record.meta).decode() if record.meta and meta is None else None,
        }


def instant_text(instant: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the second."""
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%dT%H:%M:%SZ}"


def age_text(seconds: float) -> str:
    """A time span in one unit, rounded down: ``45s``, ``119m``, ``47h``, ``2d``."""
    whole = max(0, int(seconds))
    length, unit = next((length, unit) for length, unit, least in _UNITS if whole >= least * length)
    return f"{whole // length}{unit}"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
