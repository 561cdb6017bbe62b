"""What a store holds, in a few lines of plain Python: it says what every store should answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors._stores import Attention, Payload, Record, job_of
from connectors._stores.rules import CLAIMED
from tests.stores.conftest import Clock

__all__ = ["Expected", "Model"]


@dataclass
class Expected:
    """What is expected of a key, in the words of the contract. A time is None where it did not come."""

    owner: str
    changed: float
    state: str = "reserved"
    tracked: bool = True
    described: tuple[str, int, str] = ("", 0, "")
    """Its run, its generation and its fingerprint."""
    lease: float = 0.0
    meta: bytes | None = None
    job: str = ""
    done: float = 0.0
    latest: int = 0
    arrived: bool | None = None
    asked: float | None = None
    polled: float | None = None
    terminal: tuple[str, float] | None = None
    to_delete: float | None = None
    deleted: bool = False
    tries: int = 0
    reason: str = ""
    aside: bool = False
    adopter: str = ""
    adopts: str = ""

    def waits(self) -> tuple[Attention, float] | None:
        """For what, and since when."""
        if self.to_delete is not None and self.state == "done":
            return None if self.aside else (Attention.DELETE, self.to_delete)
        over = self.terminal or self.deleted or self.aside or self.adopter or self.state == "taken"
        if over or not self.tracked:
            return None
        if self.state != "done":
            return Attention.UNKNOWN, self.changed
        if self.arrived is False:
            return Attention.LOST, self.changed
        return Attention.IDLE, max(self.polled or 0.0, self.done)

    def waits_for(self, still: Attention | None) -> bool:
        """Whether it waits for that; None is no question."""
        waits = self.waits()
        return still is None or still is (waits[0] if waits else Attention.NONE)

    def is_as(self, record: Record) -> None:
        assert (record.state.value, record.owner, record.lease_until) == (self.state, self.owner, self.lease)
        assert (record.run, record.generation, record.fingerprint) == self.described
        assert (record.tracked, record.meta, record.done_at) == (self.tracked, self.meta, self.done)
        assert record.job == self.job
        assert (record.latest, record.changed) == (self.latest, self.changed)
        assert record.delivery.value == {None: "", True: "delivered", False: "lost"}[self.arrived]
        assert (record.asked_at, record.polled_at) == (self.asked or 0.0, self.polled or 0.0)
        assert (record.terminal, record.terminal_at) == (self.terminal or ("", 0.0))
        deletion = "wanted" if self.to_delete is not None else "done" if self.deleted else ""
        assert (record.deletion.value, record.delete_at) == (deletion, self.to_delete or 0.0)
        assert (record.delete_tries, record.reason) == (self.tries, self.reason)
        assert (record.set_aside, record.adopted_by, record.adopts) == (self.aside, self.adopter, self.adopts)

    def is_asked_for(self) -> None:
        """That it was reported is taken back."""
        untouched = not self.adopter and self.to_delete is None and not self.deleted
        if self.aside and untouched and not self.reason.startswith(CLAIMED):
            self.aside, self.reason = False, ""


@dataclass
class Model:
    """What the store holds, and how the contract says that it changes."""

    clock: Clock
    records: dict[str, Expected] = field(default_factory=dict)
    payloads: dict[tuple[str, Payload], tuple[float, bytes]] = field(default_factory=dict)
    dropped: set[tuple[str, Payload]] = field(default_factory=set)
    """Payloads that are gone; whether expiry still counts them is the store's own affair."""

    def held(self, key: str, owner: str) -> Expected | None:
        record = self.records.get(key)
        return record if record and record.state == "reserved" and record.owner == owner else None

    def done(self, record: Expected, meta: bytes) -> None:
        record.state, record.meta, record.lease = "done", meta, 0.0
        record.job = job_of("t", 0, meta) if record.tracked else ""
        record.done = record.changed = self.clock.now
        if record.to_delete is not None and not (record.aside and record.reason.startswith(CLAIMED)):
            record.to_delete, record.aside = self.clock.now, False

    def note(self, record: Expected, delivered: bool | None, polled: bool, terminal: str) -> bool:
        """Whether that was any news."""
        now = self.clock.now
        before = (record.arrived, record.polled, record.terminal)
        if delivered or polled:
            record.arrived = True
        elif delivered is False and record.arrived is None:
            record.arrived = False
        if polled and (record.polled is None or now - record.polled >= 1_800):
            record.polled = now
            record.asked = record.asked or now
            record.is_asked_for()
        if terminal and record.terminal is None:
            record.terminal = (terminal, now)
        if before == (record.arrived, record.polled, record.terminal):
            return False
        record.changed = now
        return True

    def spread(self, record: Expected, terminal: str) -> None:
        """What follows from news of one attempt for others of the run."""
        first = self.records.get("k0")
        if record.described[:2] == ("k0", 1) and first is not None:
            first.latest, first.changed = max(first.latest, 1), self.clock.now
        earlier = self.records.get(record.adopts)
        if terminal and earlier is not None and self.note(earlier, None, False, terminal):
            self.spread(earlier, terminal)

    def delete(self, key: str) -> None:
        """The key's job is cancelled, and so for those that it was taken over from."""
        seen: set[str] = set()
        while key not in seen and (record := self.records.get(key)):
            seen.add(key)
            if not record.deleted:
                record.deleted, record.to_delete, record.changed = True, None, self.clock.now
            key = record.adopts

    def aged(self, older_than: float) -> list[str]:
        now = self.clock.now
        return [key for key, each in self.records.items() if each.changed <= now - older_than and each.lease <= now]

    def run_out(self) -> list[tuple[str, Payload]]:
        return [at for at, (ends, _) in self.payloads.items() if ends <= self.clock.now]
